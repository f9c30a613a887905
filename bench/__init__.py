"""`python -m bench`: what a quote costs, from the socket to the committed row. See __main__.py."""
