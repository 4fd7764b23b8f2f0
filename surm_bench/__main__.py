from surm_bench.command.main import run

if __name__ == "__main__":
    run()
