/** The style of the report: light, dark by what the reader's system prefers, and print. Colours of the series are told apart by people who see few colours (after Okabe and Ito). */
export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1a1c20; --faint: #5b6270; --line: #d9dce3; --shade: #f4f5f8;
  --series-0: #0072b2; --series-1: #d55e00; --series-2: #009e73; --series-3: #a8438c; --series-4: #8a6d00; --series-5: #3b3f46;
  --series-6: #4a9bd6; --series-7: #b03a2e; --series-8: #5c7f0a; --series-9: #7a5ac8; --series-10: #00828c; --series-11: #8c5a3c;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #14161a; --ink: #e8eaee; --faint: #a3aab8; --line: #333842; --shade: #1d2026;
    --series-0: #56b4e9; --series-1: #ff9f43; --series-2: #35d0a0; --series-3: #e58fcf; --series-4: #f0e442; --series-5: #c9ced8;
    --series-6: #8ccbff; --series-7: #ff8a7a; --series-8: #b7dc5a; --series-9: #b7a1ff; --series-10: #5fdbe3; --series-11: #d9a787;
  }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1040px; padding: 24px 20px 64px; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 26px; margin: 0 0 4px } h2 { font-size: 20px; margin: 40px 0 4px; border-top: 1px solid var(--line); padding-top: 20px } h3 { font-size: 16px; margin: 24px 0 4px }
p { margin: 4px 0 10px } .faint { color: var(--faint) } code { font-size: 13px; overflow-wrap: anywhere }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 10px 0 } dt { color: var(--faint) } dd { margin: 0 }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; width: 100% }
th, td { padding: 4px 8px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap } th { color: var(--faint); font-weight: 600; vertical-align: bottom }
th.text, td.text { text-align: left } tbody tr:nth-child(even) { background: var(--shade) }
figure { margin: 8px 0 20px !important } figure svg, section svg { max-width: 100%; height: auto; --plot-background: var(--paper) }
@media print {
  body { max-width: none; padding: 0; font-size: 11px } table { font-size: 8px } th, td { padding: 2px 3px }
  .scroll { overflow: visible } figure, .plot, tr { break-inside: avoid } h2, h3 { break-after: avoid }
}
`
