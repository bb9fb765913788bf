// The table as it is shown, as Markdown and as LaTeX.
"use strict";
Object.assign(
  moesuite,
  (() => {
    const { view, visible } = moesuite;

    // Texts of all cells, the headers first.
    function cells() {
      const columns = view.shownColumns();
      const heads = columns.map((column) => column.label);
      return [heads, ...visible().map((row) => columns.map((column) => column.text(row)))];
    }

    function markdown() {
      const escaped = (cell) => cell.replaceAll("|", "\\|");
      const [head, ...body] = cells().map((line) => `| ${line.map(escaped).join(" | ")} |`);
      const rules = view.shownColumns().map((column) => (column.numeric ? "---:" : "---"));
      return `${[head, `|${rules.join("|")}|`, ...body].join("\n")}\n`;
    }

    // Signs that LaTeX reads as commands, or does not know.
    const TEX = {
      "\\": "\\textbackslash{}",
      "^": "\\textasciicircum{}",
      "~": "\\textasciitilde{}",
      "±": "$\\pm$",
      "−": "$-$",
      "≥": "$\\geq$",
      "↑": "$\\uparrow$",
      "↓": "$\\downarrow$",
      "✓": "\\checkmark{}",
      "✗": "$\\times$",
    };
    const tex = (text) => text.replace(/[\\{}&%$#_^~±−≥↑↓✓✗]/g, (sign) => TEX[sign] || `\\${sign}`);

    function latex() {
      const [head, ...body] = cells().map((line) => `${line.map(tex).join(" & ")} \\\\`);
      const layout = view.shownColumns().map((column) => (column.numeric ? "r" : "l"));
      return [
        `\\begin{tabular}{${layout.join("")}}`,
        "\\toprule",
        head,
        "\\midrule",
        ...body,
        "\\bottomrule",
        "\\end{tabular}",
        "",
      ].join("\n");
    }
    return { markdown, latex };
  })(),
);
