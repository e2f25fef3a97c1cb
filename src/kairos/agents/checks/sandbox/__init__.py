"""The sandbox in which the code of answers is tested.

`launcher` starts and ends it, `jail` isolates it, and `warden` supervises two processes: `runner` runs the tests,
`answer` the code. `peer` connects the two; `protocol`, `codec`, `containers` and `object_proxies` transfer values and
proxies, `access_control` limits access to the tests' objects, and `shared_environment` shares streams and environment.
"""
