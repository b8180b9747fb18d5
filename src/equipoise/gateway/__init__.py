"""The gateway: an HTTP server that speaks the vendors' wire formats and makes the calls that routing decided on.

app.py puts the endpoints together; read it first. edge.py is what a client meets before any of them.
"""
