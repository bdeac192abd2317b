from sandbox.command import sandbox

if __name__ == "__main__":
    sandbox(prog_name="python -m sandbox")
