from surm_bench.cli import main

main()
