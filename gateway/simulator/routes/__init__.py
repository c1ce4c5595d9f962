"""One module per family of routes; each has its table `ROUTES`, which `application` also puts under /api."""
