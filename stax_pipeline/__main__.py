"""`python -m stax_pipeline` is `stax`."""

from stax_pipeline.cli.main import main

main()
