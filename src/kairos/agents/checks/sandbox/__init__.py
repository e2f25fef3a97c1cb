"""Where answers' code is tested.

`box` starts and ends it, `jail` isolation it in, `warden` watches two processes: `runner` runs the tests, `answer` the
code. `peer` connects them; `codec`, `containers`, `mirrors`, `reach` and `surroundings` are what crosses, and how.
"""
