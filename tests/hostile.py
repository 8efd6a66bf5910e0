"""What a token, a head, a task or a model may be called by someone who wants more than to be read.

Each text with what a reader shall see of it: itself, or with pictures in place of what would act.
Each that is run as script sets the page's title to "broken"; each that is loaded asks 127.0.0.1.
"""

from __future__ import annotations

_SELVES = (
    "</script><script>document.title='broken'</script>",
    "<img src=x onerror=\"document.title='broken'\">",
    "<svg onload=\"document.title='broken'\"><script>document.title='broken'</script></svg>",
    "<iframe src=http://127.0.0.1:9/></iframe><link rel=stylesheet href=http://127.0.0.1:9/x.css>",
    '<meta http-equiv=refresh content="0;url=http://127.0.0.1:9/"><base href=http://127.0.0.1:9/>',
    '" autofocus tabindex=0 onfocus="document.title=\'broken\'" title="',
    "' onmouseover='document.title=\"broken\"' title='",
    "{{ 7*7 }}{% include 'broken' %}${7*7}#{7*7}<%= 7*7 %>",
    "javascript:document.title='broken'",
    "<!--<script>",
    "--><h1>broken</h1><!--",
    "<![CDATA[ ]]><h1>broken</h1>",
    "</style><style>body{display:none}</style>",
    "</title></head><body><h1>broken</h1>",
    "</pre></code></td></tr></table></details><h1>broken</h1>",
    "&lt;b&gt;&#106;&amp;",
    "'\"`${1}\\",
    "'});document.title='broken';({a:'",
    "\u2028document.title='broken'\u2029",
    "[here](javascript:document.title='broken') ![x](http://127.0.0.1:9/x.png)",
    "[here][there] [there]: http://127.0.0.1:9/ ```# broken | <b>",
    "=cmd|'/C calc'!A0",
    "@SUM(1+1)*cmd|'/C calc'!A0",
    "-2+3+cmd|'/C calc'!A0",
    "$\\frac{$ and $x^2$",
    "[red]broken[/red] [/bold] [link=http://127.0.0.1:9/]x[/link]",
    "é 漢 שלום 👩‍🔬",
)

HOSTILE: dict[str, str] = {
    **{text: text for text in _SELVES},
    "nul\0 and half a letter\ud800": "nul␀ and half a letter�",
    "evil\u202etxt.exe\u2066 isolated": "evil�txt.exe� isolated",
    "\x1b]0;broken\x07\x1b[31mred\x9b0m\r": "␛]0;broken␇␛[31mred�0m␍",
}
