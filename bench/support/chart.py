"""The figures of a run as a chart: bars of ratios to nginx, with their targets, in SVG."""

from __future__ import annotations

from collections.abc import Sequence

from bench.proxy import Figure

_ROW, _LEFT, _WIDTH = 28, 300, 420
_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="13">'
)


def chart(figures: Sequence[Figure]) -> str:
    """Return a drawing of all figures, each as a share of its target; what is above it is drawn in red."""
    rows = []
    for number, figure in enumerate(figures):
        share = figure.judged / figure.target
        length = min(share, 2.0) / 2.0 * _WIDTH
        top = number * _ROW + 8
        color = "#4a7ab5" if share <= 1 else "#c0504d"
        told = f"{figure.judged:.2f}{' x nginx' if figure.nginx is not None else ' ' + figure.unit}"
        rows.append(f'<text x="{_LEFT - 8}" y="{top + 14}" text-anchor="end">{figure.name}</text>')
        rows.append(f'<rect x="{_LEFT}" y="{top}" width="{length:.0f}" height="18" fill="{color}"/>')
        rows.append(f'<text x="{_LEFT + length + 6:.0f}" y="{top + 14}">{told} (target {figure.target:g})</text>')
    middle = _LEFT + _WIDTH / 2
    height = len(figures) * _ROW + 16
    rows.append(f'<line x1="{middle}" y1="0" x2="{middle}" y2="{height}" stroke="#333" stroke-dasharray="4"/>')
    return "\n".join([_HEAD.format(width=_LEFT + _WIDTH + 220, height=height), *rows, "</svg>", ""])
