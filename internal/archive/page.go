package archive

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html"
	"io"
	"strings"
)

var (
	//go:embed page.css
	style string
	//go:embed page.js
	script string
)

// page writes one page of HTML as its lines come. Nothing in it comes from
// elsewhere, and only its own style and script are carried out: what a log holds is
// text, and the policy says so to the browser, too.
type page struct {
	w       *bufio.Writer
	channel bool   // one is open
	day     string // that is open
	open    bool
}

// source is a word of a content security policy that allows what it hashes.
func source(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// newPage begins a page. about is a line of what it holds.
func newPage(w io.Writer, title, about string) *page {
	p := &page{w: bufio.NewWriterSize(w, 64<<10)}
	p.put("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
		"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src ", source(style), "; script-src ", source(script),
		"; base-uri 'none'; form-action 'none'\">\n",
		"<meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")
	p.put("<title>", esc(title), "</title>\n<style>", style, "</style>\n</head>\n<body>\n<header><h1>", esc(title), "</h1>\n")
	p.put("<input id=\"q\" type=\"search\" placeholder=\"Search: all these words\" autocomplete=\"off\" aria-label=\"Search\"><span id=\"n\"></span>\n")
	p.put("<div class=\"e\">", esc(about), "</div></header>\n<main>\n")
	return p
}

func (p *page) put(parts ...string) {
	for _, s := range parts {
		_, _ = p.w.WriteString(s) // the writer keeps its first error, and Flush tells it
	}
}

// chapter begins a channel.
func (p *page) chapter(name string) {
	p.endDay()
	if p.channel {
		p.put("</article>\n")
	}
	p.channel = true
	p.put("<article><h2>", esc(name), "</h2>\n")
}

func (p *page) endDay() {
	if p.open {
		p.put("</section>\n")
	}
	p.open = false
}

// line writes one line.
func (p *page) line(l Line) {
	if !p.open || l.Day != p.day {
		p.endDay()
		p.open, p.day = true, l.Day
		day := l.Day
		if day == "" {
			day = "date unknown"
		}
		p.put("<section><h3>", day, "</h3>\n")
	}
	p.put("<p", [...]string{Said: "", Action: ` class="a"`, Notice: "", Event: ` class="e"`}[l.Kind], "><time>", esc(l.Time), "</time>")
	if l.Nick != "" {
		mark := map[Kind][2]string{Action: {"* ", ""}, Notice: {"-", "-"}}[l.Kind]
		p.put("<b><bdi>", mark[0], esc(l.Nick), mark[1], "</bdi></b> ")
	}
	p.put("<bdi>", esc(l.Text), "</bdi></p>\n")
}

// end ends the page. The error is the first of writing it.
func (p *page) end() error {
	p.endDay()
	if p.channel {
		p.put("</article>\n")
	}
	p.put("</main>\n<script>", script, "</script>\n</body>\n</html>\n")
	return p.w.Flush()
}

// esc makes text of foreign words, wherever it stands.
func esc(s string) string {
	if !strings.ContainsAny(s, `<>&'"`) {
		return s
	}
	return html.EscapeString(s)
}
