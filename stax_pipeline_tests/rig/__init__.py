"""What breaks the product on purpose, and what tells whether it recovered.

`oracle` compares everything that is kept, `fault_server` breaks answers below HTTP, `stages` stops a process or a
connection at a named stage. Nothing here is known to the product.
"""
