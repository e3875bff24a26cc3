"""What an operator does to a tenant: connect, rotate, disconnect, grant, record rates, commitments and invoices."""
