"""Draw the layers of the package as an SVG: `python tests/pictures.py layout`.

The layers are read from the import-linter contracts in `pyproject.toml`, the descriptions from
the first lines of the docstrings, and the lines from the imports. The picture is an N² chart: a
package's row has a dot for each package that it imports, and the line below the dot leads to that
package. As imports go one way, every line leads down.
"""

import ast
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
_ROW, _COLUMN = 26, 24
_MARGIN, _HEADING, _GAP = 20, 40, 22
_NAME_CHAR, _TEXT_CHAR = 7.9, 6.7
"""Character widths in units of the picture, with space for wider fonts."""
_LEGEND = (
    "A dot: the package of this row imports the package to which the line below the dot leads.",
    "A band, shaded or not, is a layer. Every line leads down: no layer imports a higher one.",
)
_STYLE = """
text { font: 12px system-ui, 'DejaVu Sans', Helvetica, Arial, sans-serif; fill: #57606a; }
.name { font: bold 13px ui-monospace, 'DejaVu Sans Mono', Menlo, monospace; fill: #1f2328; }
.heading { font-size: 15px; font-weight: 600; fill: #1f2328; }
.paper { fill: #ffffff; stroke: #d0d7de; }
.band { fill: #f0f3f6; }
.leader { stroke: #d0d7de; stroke-dasharray: 1 4; fill: none; }
.import { stroke: #0969da; stroke-width: 1.4; fill: none; }
.dot, .arrow { fill: #0969da; }
@media (prefers-color-scheme: dark) {
  text { fill: #9da7b3; }
  .name, .heading { fill: #e6edf3; }
  .paper { fill: #0d1117; stroke: #3d444d; }
  .band { fill: #1a212b; }
  .leader { stroke: #3d444d; }
  .import { stroke: #58a6ff; }
  .dot, .arrow { fill: #58a6ff; }
}
"""


@dataclass(frozen=True)
class Row:
    """One package or module of a layered contract.

    Attributes:
        layer: The layer's number, 0 for the highest.
        about: The first line of its docstring.
        imports: Positions of the rows that it imports.
    """

    name: str
    layer: int
    about: str
    imports: tuple[int, ...]


@dataclass(frozen=True)
class Chart:
    """One layered contract: its name, and its rows from the highest layer down."""

    name: str
    rows: tuple[Row, ...]

    @property
    def height(self) -> int:
        return _HEADING + _ROW * len(self.rows) + _GAP


def charts() -> list[Chart]:
    """Read each contract of the type `layers`, and the imports among its packages."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    graph = grimp.build_graph(linter["root_package"], cache_dir=None)
    return [
        Chart(contract["name"], tuple(_rows(graph, container, contract["layers"])))
        for contract in linter["contracts"]
        if contract["type"] == "layers"
        for container in contract["containers"]
    ]


def _rows(graph: grimp.ImportGraph, container: str, layers: list[str]) -> Iterable[Row]:
    placed = [
        (name, number)
        for number, layer in enumerate(layers)
        for part in layer.replace(":", "|").split("|")
        if f"{container}.{(name := part.strip(' ()'))}" in graph.modules
    ]
    for name, number in placed:
        module = f"{container}.{name}"
        imported = (
            position
            for position, (other, _) in enumerate(placed)
            if other != name
            and graph.direct_import_exists(
                importer=module, imported=f"{container}.{other}", as_packages=True
            )
        )
        yield Row(name, number, _first_line(module), tuple(imported))


def _first_line(module: str) -> str:
    path = ROOT.joinpath(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(source.read_bytes())) or ""
    return text.partition("\n")[0].rstrip(".")


def draw(found: list[Chart]) -> str:
    """Return the SVG, with one chart below the other."""
    rows = [row for chart in found for row in chart.rows]
    about_x = _MARGIN + round(max(len(row.name) for row in rows) * _NAME_CHAR) + 12
    grid_x = about_x + round(max(len(row.about) for row in rows) * _TEXT_CHAR) + 12
    width = grid_x + _COLUMN * max(len(chart.rows) for chart in found) + _MARGIN
    parts, top = [], 0
    for chart in found:
        parts += _chart(chart, top, about_x, grid_x, width)
        top += chart.height
    for line in _LEGEND:
        parts.append(_text(_MARGIN, top + 8, line))
        top += 18
    height = top + 6
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="The layers of the package">'
    )
    paper = f'<rect class="paper" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8"/>'
    return "\n".join([opening, f"<style>{_STYLE}</style>", paper, *parts, "</svg>"]) + "\n"


def _chart(chart: Chart, top: int, about_x: int, grid_x: int, width: int) -> Iterable[str]:
    xs = [grid_x + _COLUMN * number + _COLUMN // 2 for number in range(len(chart.rows))]
    ys = [top + _HEADING + _ROW * number + _ROW // 2 for number in range(len(chart.rows))]
    yield _text(_MARGIN, top + 26, chart.name, "heading")
    for y, row in zip(ys, chart.rows, strict=True):
        if row.layer % 2 == 0:
            band_y = y - _ROW // 2
            yield f'<rect class="band" x="1" y="{band_y}" width="{width - 2}" height="{_ROW}"/>'
    for x, y, row in zip(xs, ys, chart.rows, strict=True):
        start = about_x + round(len(row.about) * _TEXT_CHAR) + 4
        yield _text(_MARGIN, y + 4, row.name, "name")
        yield _text(about_x, y + 4, row.about)
        yield f'<path class="leader" d="M{start} {y}H{x - 8}"/>'
        if row.imports:
            yield f'<path class="import" d="M{x} {y}H{xs[max(row.imports)]}"/>'
    for position, (x, y) in enumerate(zip(xs, ys, strict=True)):
        yield from _importers(
            x, y, [ys[n] for n, r in enumerate(chart.rows) if position in r.imports]
        )


def _importers(x: int, y: int, rows_y: list[int]) -> Iterable[str]:
    """Yield the line that leads down to a package, with a dot on each row that imports it."""
    if rows_y:
        yield f'<path class="import" d="M{x} {min(rows_y)}V{y - 6}"/>'
        yield f'<path class="arrow" d="M{x - 4} {y - 7}h8l-4 7z"/>'
    for row_y in rows_y:
        yield f'<circle class="dot" cx="{x}" cy="{row_y}" r="3.2"/>'


def _text(x: int, y: int, words: str, kind: str = "") -> str:
    marked = f' class="{kind}"' if kind else ""
    return f'<text{marked} x="{x}" y="{y}">{escape(words)}</text>'
