#!/usr/bin/env python3
"""Draws the panels of the dashboard from what a Prometheus holds, as an SVG for the documentation:
deploy/grafana/picture.py http://127.0.0.1:9090 [SECONDS] > deploy/grafana/dashboard.svg
"""

import json
import re
import sys
import time
import urllib.parse
import urllib.request
from html import escape

sys.dont_write_bytecode = True
from dashboard import FILLED, ROWS  # noqa: E402

DRAWN = {"Tokens", "Clients"}
WIDTH, HEIGHT, PLOT, ACROSS, LEGENDS, PANELS = 380, 210, 110, 3, 4, 9
COLOURS = ["#3d71d9", "#e0752d", "#299c46", "#8f3bb8", "#c4162a", "#0d8a8a"]


def ask(prometheus, query, start, end):
    for name, value in FILLED.items():
        query = query.replace(name, value or ".*")
    # A picture is of minutes, not of hours.
    query = query.replace("[30s]", "[10s]").replace("[1h]", "[30s]")
    asked = urllib.parse.urlencode({"query": query, "start": start, "end": end, "step": 1})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query_range?{asked}", timeout=10) as answer:
        return json.load(answer)["data"]["result"]


def named(legend, labels):
    return re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), legend).replace(labels.get("instance", "\0"), "")


def lines(prometheus, queries, start, end):
    """Finds what moves or stands above 0; a dozen reasons that never came up are no picture."""
    for query, legend in queries:
        for found in ask(prometheus, query, start, end):
            points = [(float(at), float(value)) for at, value in found["values"] if value not in ("NaN", "+Inf")]
            if any(value for _, value in points):
                yield named(legend, found["metric"]).strip(), points


def number(value, unit):
    if unit == "s":
        return f"{value:.0f} s" if abs(value) >= 10 else f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.1f} s"
    return f"{value:.3g}"


def panel(title, unit, drawn, start, end):
    low = min([0, *(value for _, points in drawn for _, value in points)])
    high = max([low + 1e-9, *(value for _, points in drawn for _, value in points)])
    yield f'<text x="10" y="20" class="t">{escape(title)}</text>'
    for value in (low, high):
        y = 32 + PLOT * (high - value) / (high - low)
        yield f'<path d="M52 {y:.1f}H{WIDTH - 10}" class="g"/><text x="48" y="{y + 4:.1f}" class="n">{number(value, unit)}</text>'
    for at, (name, points) in enumerate(drawn[:len(COLOURS)]):
        path = " ".join(
            f"{52 + (WIDTH - 62) * (when - start) / (end - start):.0f},{32 + PLOT * (high - value) / (high - low):.1f}"
            for when, value in points)
        yield f'<polyline points="{path}" stroke="{COLOURS[at]}"/>'
        if at < LEGENDS:
            yield f'<text x="{52 + at % 2 * 165}" y="{PLOT + 52 + at // 2 * 16}" fill="{COLOURS[at]}">{escape(name)}</text>'


def picture(prometheus, seconds):
    end = time.time()
    start = end - seconds
    members = [member for title, row in ROWS if title in DRAWN for member in row]
    members = [(member, list(lines(prometheus, member[4], start, end))) for member in members]
    members = [(member, drawn) for member, drawn in members if drawn][:PANELS]
    rows = -(-len(members) // ACROSS)
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * ACROSS} {HEIGHT * rows}" '
           'font-family="sans-serif" font-size="11"><style>.t{font-size:13px;font-weight:bold}.n{text-anchor:end;fill:#666}'
           '.g{stroke:#ddd}polyline{fill:none;stroke-width:1.5}</style>'
           '<rect width="100%" height="100%" fill="#fff"/>')
    for at, ((title, _, unit, _, _), drawn) in enumerate(members):
        yield f'<g transform="translate({at % ACROSS * WIDTH} {at // ACROSS * HEIGHT})">'
        yield from panel(title, unit, drawn, start, end)
        yield "</g>"
    yield "</svg>"


if __name__ == "__main__":
    print(*picture(sys.argv[1], int((sys.argv[2:] or ["50"])[0])), sep="\n")
