"""The table (Markdown) and the chart (SVG) of a bench's medians."""

import html
from statistics import median

COLORS = {True: "#336791", False: "#b0b7bf"}


def medians(runs):
    return {label: median(run.seconds for run in found) for label, found in runs.items()}


def markdown(title, contestants, results, rows):
    """One table of results per exported table. `results`: {table: {label: Entry}}."""
    lines = [title, ""]
    for table, entries in results.items():
        lines += [
            f"{table}, {rows:,} rows, {entries['heap_mb']:,.0f} MB of heap",
            "",
            "| | seconds (median) | against DuckDB | file, MB | peak memory, MB | numeric becomes |",
            "|---|--:|--:|--:|--:|---|",
        ]
        took = medians(entries["runs"])
        for contestant in contestants:
            if contestant.label not in took:
                continue
            seconds, facts = took[contestant.label], entries["files"].get(contestant.label)
            duckdb = took.get(f"DuckDB, {contestant.codec}")
            ratio = f"{duckdb / seconds:.1f}x" if duckdb else ""
            size, numeric = (f"{facts[0]:,.0f}", facts[1]) if facts else ("", "")
            peak = max(run.peak_mb for run in entries["runs"][contestant.label])
            lines.append(f"| {contestant.label} | {seconds:.2f} | {ratio} | {size} | {peak:,.0f} | {numeric} |")
        lines.append("")
    return "\n".join(lines)


def svg(contestants, results, rows):
    """Horizontal bars, one panel per table, fastest first."""
    width, left, bar, gap = 760, 230, 20, 8
    body, top = [], 16
    for table, entries in results.items():
        took = sorted(medians(entries["runs"]).items(), key=lambda pair: pair[1])
        longest = max(seconds for _, seconds in took)
        body.append(f'<text x="0" y="{top + 4}" class="title">{table}, {rows:,} rows: seconds to export</text>')
        top += 18
        for label, seconds in took:
            mine = any(contestant.ours for contestant in contestants if contestant.label == label) or label.startswith(
                "pg_strata"
            )
            length = max(2, (width - left - 60) * seconds / longest)
            body.append(
                f'<text x="{left - 8}" y="{top + 15}" text-anchor="end">{html.escape(label)}</text>'
                f'<rect x="{left}" y="{top}" width="{length:.0f}" height="{bar}" rx="2" fill="{COLORS[mine]}"/>'
                f'<text x="{left + length + 6:.0f}" y="{top + 15}">{seconds:.1f}</text>'
            )
            top += bar + gap
        top += 24
    style = "text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-weight:600}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 -4 '
        f'{width} {top}" role="img">'
        f'<style>{style}</style><rect x="0" y="-4" width="{width}" height="{top}" fill="#fff"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )
