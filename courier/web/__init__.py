"""The dashboard: what a site knows, as pages in a browser. It reads, and changes nothing.

Pages are made here, on the server, from templates and files of this package; nothing is loaded from elsewhere.
`courier.web.guard` says who is let in, `courier.web.watch` notices what changed, and each page has a module that
gathers what its template shows. However much a site has, a page shows a bounded part of it.
"""
