"""Prints the findings in testssl.sh's JSON file, a line each: id, severity, finding, with tabs between."""
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    for finding in json.load(file):
        print(finding["id"], finding["severity"], " ".join(finding["finding"].split()), sep="\t")
