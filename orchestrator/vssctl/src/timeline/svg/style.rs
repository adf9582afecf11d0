//! The picture's colours and letters, for light pages and for dark ones. No variables: viewers that are no browsers don't know them.

/// A style sheet.
pub(super) const STYLE: &str = "
text { font-family: system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif; font-size: 13px; fill: #1f2328 }
.card { fill: #ffffff; stroke: #d1d9e0 }
.title { font-size: 18px; font-weight: 600 }
.faint { fill: #59636e; font-size: 12px }
.small { font-size: 11px }
.end { text-anchor: end }
.middle { text-anchor: middle }
.number { font-variant-numeric: tabular-nums }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.rule { stroke: #818b98; stroke-width: 1; stroke-dasharray: 2 3 }
.cut { fill: #eaeef2 }
.hatch { stroke: #c8d1da; stroke-width: 1.5 }
.freeze { fill: #2f6feb }
.prepare { fill: #9a86d8 }
.thaw { fill: #2c974b }
.held { fill: #a9cbff }
.open { opacity: 0.6 }
.bad { fill: #cf222e }
.good { fill: #1a7f37 }
.limit { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 5 3 }
.gauge { fill: #eaeef2 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.card { fill: #0d1117; stroke: #30363d }
.faint { fill: #9198a1 }
.grid { stroke: #262c34 }
.rule { stroke: #768390 }
.cut { fill: #161b22 }
.hatch { stroke: #2d343d }
.freeze { fill: #539bf5 }
.prepare { fill: #a790f0 }
.thaw { fill: #46b75c }
.held { fill: #1f4a80 }
.bad { fill: #f85149 }
.good { fill: #3fb950 }
.limit { stroke: #f85149 }
.gauge { fill: #21262d }
}
";
