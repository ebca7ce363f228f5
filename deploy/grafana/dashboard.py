#!/usr/bin/env python3
"""Makes dashboard.json, the Grafana dashboard of bearerd: deploy/grafana/dashboard.py > …/dashboard.json

With --queries JOB it prints each panel's queries instead, for a Prometheus to answer: the panel's
title, a tab, and the query with Grafana's variables filled in.
"""

import json
import sys

SECONDS, PER_SECOND, BYTES, PART = "s", "reqps", "bytes", "percentunit"
CREDENTIAL = 'job=~"$job", instance=~"$instance", credential=~"$credential"'
LISTENER = 'job=~"$job", instance=~"$instance"'


def per(labels, metric, where, function="rate", window="$__rate_interval"):
    by = f" by ({labels}) " if labels else ""
    return f"sum{by}({function}({metric}{{{where}}}[{window}]))"


def quantile(part, metric, labels, where, window="$__rate_interval"):
    buckets = per(f"le, {labels}", f"{metric}_bucket", where, window=window)
    return f"histogram_quantile({part}, {buckets})"


# Each row: its title, and panels as title, kind, unit, what it shows, queries with their legends.
ROWS = [
    ("Now", [
        ("Ready", "stat", "none", "Credentials with a valid token, of all.", [
            (f"sum(bearerd_credential_ready{{{CREDENTIAL}}})", "ready"),
            (f"count(bearerd_credential_ready{{{CREDENTIAL}}})", "all")]),
        ("Life left, at the least", "stat", SECONDS, "Of the token that ends first.", [
            (f"min(bearerd_token_expiry_timestamp_seconds{{{CREDENTIAL}}} - time())", "")]),
        ("Mints that fail", "stat", PART, "Of all mints. A valid token is served all the same.", [
            (per("", "bearerd_token_refreshes_total", CREDENTIAL + ', result="failure"', window="$__range") + " / "
             + per("", "bearerd_token_refreshes_total", CREDENTIAL, window="$__range"), "")]),
        ("Requests", "stat", PER_SECOND, "At all listeners.", [
            (per("", "bearerd_requests_total", LISTENER), "")]),
        ("Versions", "stat", "none", "Daemons of each version.", [
            (f"count by (version, revision) (bearerd_build_info{{{LISTENER}}})", "{{version}} {{revision}}")]),
    ]),
    ("Tokens", [
        ("Life left", "timeseries", SECONDS, "A saw: each mint lifts it, at half of a token's life.", [
            (f"bearerd_token_expiry_timestamp_seconds{{{CREDENTIAL}}} - time()", "{{credential}} {{instance}}")]),
        ("Next mint in", "timeseries", SECONDS, "Below 0 it is late.", [
            (f"bearerd_token_next_refresh_timestamp_seconds{{{CREDENTIAL}}} - time()", "{{credential}} {{instance}}")]),
        ("Mints", "timeseries", "short", "By what asked for them.", [
            (per("credential, trigger, result", "bearerd_token_refreshes_total", CREDENTIAL, "increase"),
             "{{credential}} {{trigger}} {{result}}")]),
        ("Failed mints", "timeseries", "short", "By reason.", [
            (per("credential, reason", "bearerd_token_refresh_failures_total", CREDENTIAL, "increase"),
             "{{credential}} {{reason}}")]),
        ("Time of a mint", "timeseries", SECONDS, "What the issuer takes.", [
            (quantile(0.5, "bearerd_token_refresh_duration_seconds", "credential", CREDENTIAL, "1h"), "{{credential}} half"),
            (quantile(0.99, "bearerd_token_refresh_duration_seconds", "credential", CREDENTIAL, "1h"),
             "{{credential}} 99 of 100")]),
        ("Reports of a 401", "timeseries", "short", "By what came of them; stale ones cost nothing.", [
            (per("credential, outcome", "bearerd_token_rejections_total", CREDENTIAL, "increase"),
             "{{credential}} {{outcome}}")]),
    ]),
    ("Issuer and key", [
        ("Calls left", "timeseries", "short", "Of the service user's budget at the issuer.", [
            (f"bearerd_issuer_rate_limit_remaining{{{CREDENTIAL}}}", "{{credential}} {{instance}}")]),
        ("Clock of the issuer", "timeseries", SECONDS, "How far it is ahead.", [
            (f"bearerd_issuer_clock_skew_seconds{{{CREDENTIAL}}}", "{{credential}} {{instance}}")]),
        ("Age and end of the key", "timeseries", SECONDS, "Its age, and the life that is left, if it ends at all.", [
            (f"(bearerd_key_expiry_timestamp_seconds{{{CREDENTIAL}}} > 0) - time()", "{{credential}} {{instance}} left"),
            (f"time() - bearerd_key_issued_timestamp_seconds{{{CREDENTIAL}}}", "{{credential}} {{instance}} age")]),
        ("Keys read and rotated", "timeseries", "short", "Changes of the key file, and rotations.", [
            (per("credential, result", "bearerd_key_reloads_total", CREDENTIAL, "increase"),
             "{{credential}} read {{result}}"),
            (per("credential, result", "bearerd_key_rotations_total", CREDENTIAL, "increase"),
             "{{credential}} rotated {{result}}")]),
    ]),
    ("Clients", [
        ("Answers", "timeseries", PER_SECOND, "By listener and status.", [
            (per("listener, code", "bearerd_requests_total", LISTENER), "{{listener}} {{code}}")]),
        ("Time of an answer", "timeseries", SECONDS, "Without watches, which are open for as long as they like.", [
            (quantile(0.5, "bearerd_request_duration_seconds", "listener", LISTENER + ', endpoint!="watch"'),
             "{{listener}} half"),
            (quantile(0.99, "bearerd_request_duration_seconds", "listener", LISTENER + ', endpoint!="watch"'),
             "{{listener}} 99 of 100")]),
        ("Denied", "timeseries", "short", "By reason; the audit events in the log name user and process.", [
            (per("listener, reason", "bearerd_requests_denied_total", LISTENER, "increase"),
             "{{listener}} {{reason}}")]),
        ("Connections", "timeseries", "short", "Open now.", [
            (f"bearerd_connections{{{LISTENER}}}", "{{listener}} {{instance}}")]),
        ("Forwarded calls", "timeseries", PER_SECOND, "By the issuer's answer; again: sent a second time.", [
            (per("listener, code", "bearerd_proxy_upstream_requests_total", LISTENER), "{{listener}} {{code}}"),
            (per("listener, code", "bearerd_proxy_replays_total", LISTENER), "{{listener}} {{code}} again")]),
        ("Token files and commands", "timeseries", "short", "Written, and run.", [
            (per("sink, result", "bearerd_sink_writes_total", LISTENER, "increase"), "{{sink}} {{result}}"),
            (per("command, result", "bearerd_command_runs_total", LISTENER, "increase"), "{{command}} {{result}}")]),
    ]),
    ("Process", [
        ("Memory", "timeseries", BYTES, "Resident.", [
            (f"process_resident_memory_bytes{{{LISTENER}}}", "{{instance}}")]),
        ("Processor", "timeseries", PART, "Of one core.", [
            (f"rate(process_cpu_seconds_total{{{LISTENER}}}[$__rate_interval])", "{{instance}}")]),
        ("Descriptors", "timeseries", PART, "In use, of the limit.", [
            (f"process_open_fds{{{LISTENER}}} / process_max_fds", "{{instance}}")]),
        ("Configuration and log", "timeseries", "short", "Reloads, and log lines that were lost.", [
            (per("instance, result", "bearerd_config_reloads_total", LISTENER, "increase"), "reload {{result}}"),
            (per("instance", "bearerd_log_lines_dropped_total", LISTENER, "increase"), "lines lost")]),
        ("Time since the configuration was read", "timeseries", SECONDS, "It begins anew at each reload.", [
            (f"time() - bearerd_config_last_reload_success_timestamp_seconds{{{LISTENER}}}", "{{instance}}")]),
    ]),
]

# What --queries writes for Grafana's variables; the job is an argument.
FILLED = {"$job": None, "$instance": ".*", "$credential": ".*", "$__rate_interval": "30s", "$__range": "30s"}
SOURCE = {"type": "prometheus", "uid": "$source"}


def panel(number, place, title, kind, unit, shown, queries):
    made = {
        "id": number,
        "title": title,
        "description": shown,
        "type": kind,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": SOURCE, "expr": query, "legendFormat": legend or "__auto"}
            for at, (query, legend) in enumerate(queries)
        ],
    }
    if kind == "stat":
        made["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "value_and_name"}
    return made


def panels():
    number, top = 1, 0
    for title, members in ROWS:
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
               "gridPos": {"h": 1, "w": 24, "x": 0, "y": top}}
        number, top = number + 1, top + 1
        across, height = (len(members), 4) if members[0][1] == "stat" else (3, 8)
        width = 24 // across
        for at, member in enumerate(members):
            place = {"h": height, "w": width, "x": at % across * width, "y": top + at // across * height}
            yield panel(number, place, *member)
            number += 1
        top += -(-len(members) // across) * height


def variable(name, label, metric):
    query = f"label_values({metric}, {name})"
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "refresh": 2, "sort": 1,
            "query": {"query": query, "refId": name}, "definition": query,
            "includeAll": True, "multi": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}}


def dashboard():
    ready = "bearerd_credential_ready"
    return {
        "uid": "bearerd",
        "title": "bearerd",
        "description": "Tokens that are always fresh: their life, their mints, and who asks for them.",
        "tags": ["bearerd"],
        "schemaVersion": 38,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [
            {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"},
            variable("job", "Job", ready),
            variable("instance", "Daemon", f'{ready}{{job=~"$job"}}'),
            variable("credential", "Credential", f'{ready}{{job=~"$job", instance=~"$instance"}}'),
        ]},
        "panels": list(panels()),
    }


def queries(job):
    for _, members in ROWS:
        for title, _, _, _, asked in members:
            for query, _ in asked:
                for name, value in FILLED.items():
                    query = query.replace(name, value or job)
                yield f"{title}\t{query}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--queries"]:
        print(*queries(sys.argv[2]), sep="\n")
    else:
        print(json.dumps(dashboard(), indent=1, ensure_ascii=False))
