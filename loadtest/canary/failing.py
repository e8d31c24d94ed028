"""A fault in the verifier, put there from outside: a scan named so fails with all that it knows in the error.

What this returns is the `sitecustomize` of a folder on PYTHONPATH: Python runs it at its start.
"""

FAILING_SCAN_ID = "fails-inside"

_SITE = """
import importlib.abc, importlib.util, sys

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "verifier.calls":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            answer = module.Calls._answer

            def failing(self, scan, gate, response):
                if scan.scan_id.startswith("{scan_id}"):
                    raise ValueError(repr(scan) + str(bytes(scan.qr_text)))
                return answer(self, scan, gate, response)

            module.Calls._answer = failing

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""


def site() -> str:
    """Return the text of sitecustomize.py."""
    return _SITE.format(scan_id=FAILING_SCAN_ID)
