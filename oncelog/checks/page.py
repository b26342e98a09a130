"""The report of a check as one HTML page, without scripts and without anything from elsewhere."""

from html import escape
from urllib.parse import quote

from oncelog.checks.report import CheckVerdict, InvariantsReport, Section
from oncelog.verification.findings import Finding, Severity

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%;margin:.5rem 0}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d8dee4;vertical-align:top;overflow-wrap:anywhere}
td.n{text-align:right;font-variant-numeric:tabular-nums}.SOUND{color:#1a7f37}.PENDING{color:#9a6700}
.VIOLATED{color:#cf222e}b.SOUND,b.PENDING,b.VIOLATED{font-weight:600}svg{width:100%;height:4rem}code{font-size:.9em}
@media (prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}th,td{border-color:#30363d}}
"""


_STYLES = {Severity.PENDING: CheckVerdict.PENDING, Severity.REPAIRED: CheckVerdict.SOUND}


def page_of(report: InvariantsReport, *, web_ui: str | None = None) -> str:
    """Return the page; ``web_ui``: where Temporal's Web UI shows workflows, such as ``http://…/namespaces/default``."""
    rows = [
        ("scope", escape(report.scope)),
        ("mode", escape(report.mode)),
        ("coverage", escape(report.coverage)),
        ("speaks of what was written before", escape(str(report.speaks_of))),
        ("ended", escape(report.ended_at.isoformat(timespec="seconds"))),
        ("worked", f"{report.seconds:.1f} s"),
        ("looked at twice", f"{report.read.second_looks} aggregates and commands"),
        ("compared with", escape(report.compared_with or "no earlier check")),
        ("check", _workflow(report.check_id, web_ui)),
    ]
    rows += [(f"root of {escape(tree.name)}", f"<code>{escape(tree.root)}</code>") for tree in report.roots]
    facts = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows)
    sections = "".join(_section(section, web_ui) for section in report.sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Consistency check: {escape(report.verdict)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>Consistency check: <b class="{escape(report.verdict)}">{escape(report.verdict)}</b></h1>'
        f"<table>{facts}</table>{_overview(report)}{_trend(report)}{sections}</body></html>\n"
    )


def _overview(report: InvariantsReport) -> str:
    head = "<tr><th>invariant</th><th>verdict</th><th>violations</th><th>pending</th><th>checked</th></tr>"
    rows = "".join(
        f'<tr><td><a href="#invariant-{section.invariant}">{section.invariant}. {escape(section.title)}</a></td>'
        f'<td class="{escape(section.verdict)}">{escape(section.verdict)}</td>'
        f'<td class="n">{section.violations}</td><td class="n">{section.pending}</td>'
        f"<td>{escape(_checked(section))}</td></tr>"
        for section in report.sections
    )
    return f"<table>{head}{rows}</table>"


def _checked(section: Section) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in section.checked.items())


def _trend(report: InvariantsReport) -> str:
    entries = [*report.trend, report.entry]
    if len(entries) < 2:
        return ""
    most = max(max(sum(entry.violations.values()) for entry in entries), 1)
    width = 100 / len(entries)
    bars = "".join(
        _bar(sum(entry.violations.values()) / most, index * width, width) for index, entry in enumerate(entries)
    )
    head = "<tr><th>ended</th><th>mode</th><th>verdict</th><th>violations</th><th>events</th><th>seconds</th></tr>"
    rows = "".join(
        f"<tr><td>{escape(entry.ended_at.isoformat(timespec='seconds'))}</td><td>{escape(entry.mode)}</td>"
        f'<td class="{escape(entry.verdict)}">{escape(entry.verdict)}</td>'
        f'<td class="n">{sum(entry.violations.values())}</td><td class="n">{entry.events:,}</td>'
        f'<td class="n">{entry.seconds:.1f}</td></tr>'
        for entry in reversed(entries)
    )
    picture = (
        '<svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="violations of the last checks">'
        f"{bars}</svg>"
    )
    return f"<h2>The last {len(entries)} checks</h2>{picture}<table>{head}{rows}</table>"


def _bar(share: float, left: float, width: float) -> str:
    height = max(10 * share, 0.3)
    colour = "#cf222e" if share else "#1a7f37"
    place = f'x="{left:.2f}" y="{10 - height:.2f}" width="{width * 0.8:.2f}" height="{height:.2f}"'
    return f'<rect {place} fill="{colour}"/>'


def _section(section: Section, web_ui: str | None) -> str:
    title = f'<h2 id="invariant-{section.invariant}">{section.invariant}. {escape(section.title)}</h2>'
    verdict = escape(section.verdict)
    told = f'<p><b class="{verdict}">{verdict}</b>: {escape(_checked(section))} checked</p>'
    if section.verdict is CheckVerdict.SOUND and not section.repaired:
        return title + told
    counts = "".join(
        f'<tr><td>{escape(severity)}</td><td>{escape(code)}</td><td class="n">{count}</td></tr>'
        for severity, counted in section.counts.items()
        for code, count in sorted(counted.items())
    )
    findings = "".join(_finding(finding, web_ui) for finding in section.findings)
    total = sum(sum(counted.values()) for counted in section.counts.values())
    more = total - len(section.findings)
    rest = f"<p>… and {more:,} more findings, of which only the numbers are kept</p>" if more > 0 else ""
    head = "<tr><th>severity</th><th>code</th><th>where</th><th>expected and found</th><th>workflows</th></tr>"
    return f"{title}{told}<table>{counts}</table><table>{head}{findings}</table>{rest}"


def _finding(finding: Finding, web_ui: str | None) -> str:
    css = _STYLES.get(finding.severity, CheckVerdict.VIOLATED)
    links = ", ".join(_workflow(command_id, web_ui) for command_id in finding.waits_for[:10])
    links = links or _search(finding, web_ui)
    return (
        f'<tr><td class="{css}">{escape(finding.severity)}</td><td>{escape(finding.code)}</td>'
        f"<td>{escape(finding.where)}</td><td>{escape(finding.found)}</td><td>{links}</td></tr>"
    )


def _workflow(workflow_id: str, web_ui: str | None) -> str:
    if web_ui is None:
        return f"<code>{escape(workflow_id)}</code>"
    address = f"{web_ui}/workflows/{quote(workflow_id, safe='')}"
    return f'<a href="{escape(address, quote=True)}">{escape(workflow_id)}</a>'


def _search(finding: Finding, web_ui: str | None) -> str:
    """Return a link to the commands of the aggregate that a finding is about."""
    if web_ui is None or not finding.aggregate_ids:
        return ""
    about = finding.aggregate_ids[0]
    query = quote(f'AggregateId="{about}"', safe="")
    address = f"{web_ui}/workflows?query={query}"
    return f'<a href="{escape(address, quote=True)}">commands of {escape(about)}</a>'
