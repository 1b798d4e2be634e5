"""The page of a run: what ran, on what, its tables and figures, its gaps, its cost, in one file.

`contents` says what the page of a configuration shows, `folder` reads what lies there, `problems`
and `costs` sum it up, `page` fills the template.
"""
