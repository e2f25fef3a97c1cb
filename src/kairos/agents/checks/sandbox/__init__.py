"""The sandbox in which the code of answers is tested.

`box` starts and ends it, `jail` isolates it, and `warden` supervises two processes: `runner` runs the tests, `answer`
the code. `peer` connects the two; `wire`, `codec`, `containers` and `mirrors` transfer values and proxies, `reach`
limits access to the tests' objects, and `surroundings` shares streams and environment.
"""
