"""One call of HTCondor's Python bindings, as a program of its own: ``python htcondor_bindings.py < request.json``.

The bindings keep the interpreter locked while they wait for a scheduler, which may be for minutes, and change the
environment of the process that imports them. As a program they can be stopped, and survive their caller.

It uses ``htcondor2``, the bindings that are developed on; imports nothing of the project, to start fast.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Any


def answer(request: dict[str, Any]) -> Any:
    """Do what a request says.

    Args:
        request: ``verb`` (submit, queue, history, remove), ``pool``, ``schedd``, and what the verb needs.

    Returns:
        Descriptions of jobs; for a submission, its cluster and the number of its jobs.
    """
    import htcondor2

    place = None
    if request["pool"] or request["schedd"]:
        collector = htcondor2.Collector(request["pool"] or None)
        place = collector.locate(htcondor2.DaemonType.Schedd, request["schedd"] or None)
        if place is None:
            msg = f"Can't find address of schedd {request['schedd']}"
            raise ConnectionError(msg)
    schedd = htcondor2.Schedd(place)
    match request["verb"]:
        case "submit":
            result = schedd.submit(htcondor2.Submit(request["description"]))
            return [result.cluster(), result.num_procs()]
        case "queue":
            return _plain(schedd.query(request["constraint"], request["attributes"]))
        case "history":
            import classad2

            stop = classad2.ExprTree(request["stop"])
            return _plain(schedd.history(request["constraint"], request["attributes"], request["limit"], stop))
        case "remove":
            schedd.act(htcondor2.JobAction.Remove, request["ids"])
            return None
    raise ValueError(request["verb"])


def _plain(ads: Any) -> list[Any]:
    return [json.loads(ad.printJson(), strict=False) for ad in ads]


def main() -> None:
    """Answer the request on standard input; in case of an error, its text on standard error and exit code 1."""
    warnings.simplefilter("ignore")  # of job descriptions; condor_submit has them on a standard error that is not shown
    request = json.load(sys.stdin)
    try:
        text = json.dumps(answer(request))
    except ImportError as error:
        sys.exit(f"the Python bindings are not installed ({error})")
    except Exception as error:  # the bindings raise about every kind
        sys.exit(f"{error}")
    sys.stdout.write(text)
    sys.stdout.flush()
    os._exit(0)  # the library's own end takes longer than the answer


if __name__ == "__main__":
    main()
