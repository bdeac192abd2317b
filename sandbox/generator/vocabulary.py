"""Names, places and wordings that the generated books are made of."""

FIRST_NAMES = (
    "Amélie", "Anaïs", "André", "Benoît", "Camille", "Cédric", "Chloé", "Clément", "Élodie", "Émile", "Fanny",
    "François", "Gaëlle", "Gérard", "Hélène", "Inès", "Jérôme", "Joël", "Léa", "Loïc", "Maëlle", "Mathéo", "Noémie",
    "Océane", "Pénélope", "Raphaël", "Rémi", "Solène", "Stéphane", "Théo", "Zoé", "Yann", "Nour", "Karim", "Ngọc",
    "Łukasz",
)  # fmt: skip
LAST_NAMES = (
    "Lefèvre", "Béranger", "Châtelain", "Delacroix", "Dupont", "Durand", "d’Almeida", "Faÿ", "Garçon", "Guérin",
    "Hébert", "L'Hôte", "Le Gall", "Legrand", "Lévêque", "Maître", "Martin", "Ménard", "N’Diaye", "Núñez", "Œuvrard",
    "Pélissier", "Prévost", "Rénier", "Saint-Exupéry", "Sébastien", "Touré", "Vasseur", "Weiß", "de La Tour",
    "O'Connor", "Ünal",
)  # fmt: skip
TRADES = (
    "Boulangerie", "Menuiserie", "Garage", "Imprimerie", "Pharmacie", "Atelier", "Brasserie", "Clinique vétérinaire",
    "Électricité", "Plomberie", "Hôtel", "Cabinet", "Librairie", "Domaine", "Transports", "Maçonnerie", "Épicerie",
    "Société générale d’équipement", "Conseil & Stratégie", "Laboratoire", "Pépinière", "Crèche", "École", "Maison",
)  # fmt: skip
SUFFIXES = ("SARL", "SAS", "SA", "& Fils", "EURL", "SCI", "et Associés", "", "GmbH", "Ltd", "« Île-de-France »")
STREETS = (
    "rue de la République", "avenue Jean-Jaurès", "place de l’Église", "boulevard Saint-Michel", "chemin des Prés",
    "impasse des Lilas", "quai de l'Île", "allée des Tilleuls", "rue Émile-Zola", "cours Mirabeau",
)  # fmt: skip
CITIES = (
    ("75011", "Paris", "FR"), ("69003", "Lyon", "FR"), ("13006", "Marseille", "FR"), ("31000", "Toulouse", "FR"),
    ("44000", "Nantes", "FR"), ("67000", "Strasbourg", "FR"), ("35000", "Rennes", "FR"),
    ("42000", "Saint-Étienne", "FR"), ("20000", "Ajaccio", "FR"), ("97400", "Saint-Denis", "FR"),
    ("1000", "Bruxelles", "BE"), ("1201", "Genève", "CH"), ("50667", "Köln", "DE"), ("EC1A 1BB", "London", "GB"),
    ("10001", "New York", "US"),
)  # fmt: skip
ROLES = ("", "Comptable", "Directrice financière", "Gérant", "Achats", "Responsable recouvrement", "Assistante", "CFO")
MAIL_DOMAINS = ("example.org", "example.com", "example.net", "mail.example.fr")
LABELS = (
    "Prestation de conseil", "Maintenance annuelle", "Livraison de matériel", "Abonnement mensuel", "Formation",
    "Travaux de rénovation", "Développement web", "Location d’équipement", "Honoraires", "Pièces détachées",
)  # fmt: skip
PAYMENT_TERMS = {
    "upon_receipt": 0,
    "7_days": 7,
    "15_days": 15,
    "30_days": 30,
    "30_days_end_of_month": 45,
    "45_days": 45,
    "45_days_end_of_month": 60,
    "60_days": 60,
    "custom": 30,
}
RATES = {
    "USD": ("0.9213", "0.8954", "0.8571"),
    "GBP": ("1.1702", "1.1544", "1.1498"),
    "CHF": ("1.0421", "1.0688", "1.0659"),
}
"""Currencies other than the euro, and euros for one unit of them, one year or another."""

VAT = (2000, 2000, 2000, 1000, 550, 0)
"""VAT rates in hundredths of a percent, as often as they come up."""

COMPANIES = (
    ("Menuiserie Béranger & Fils", "552100554"),
    ("Atelier de l’Île", "830416275"),
    ("Œuvres & Conseil SAS", "902738114"),
    ("Brasserie du Quai", "418557302"),
)
USER = ("Camille", "Béranger", "camille.beranger@example.org")
