package otr

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"golang.org/x/net/html"
)

// Format is how a client writes what is inside of a message: Pidgin and Adium mean
// HTML, in both directions; profanity and mcabber mean what they write.
type Format uint8

// The formats.
const (
	FormatAuto Format = iota // by the client's name, else by what it writes
	FormatHTML
	FormatLiteral
	// formatEntities is mcabber's: it resolves entities in what it gets, and tags
	// stay; what it sends is literal.
	formatEntities
)

// ParseFormat reads a format's name in the config: "auto" or "", "html", "literal".
func ParseFormat(s string) (Format, error) {
	switch s {
	case "", "auto":
		return FormatAuto, nil
	case "html":
		return FormatHTML, nil
	case "literal":
		return FormatLiteral, nil
	}
	return FormatAuto, fmt.Errorf("otr: %q is no format: auto, html or literal", s)
}

// ofClient returns the format of a client by the name the leg has for it.
func ofClient(name string) Format {
	switch name {
	case "pidgin", "adium":
		return FormatHTML
	case "mcabber":
		return formatEntities
	case "profanity", "gajim", "psi", "poezio":
		return FormatLiteral
	}
	return FormatAuto
}

var (
	// markup is what only a client that means HTML begins or breaks a line with.
	markup = regexp.MustCompile(`(?i)^\s*<(html|body|font|span|div|p)(\s[^<>]*)?>|<br\s*/?>`)
	entity = regexp.MustCompile(`&(amp|lt|gt|quot|apos|nbsp|#\d{1,7}|#x[0-9a-fA-F]{1,6});`)
)

// guess returns the format that a payload shows by itself, FormatAuto if it shows
// none. Where there are entities and nothing that they would be there to replace,
// it was made by something that escapes.
func guess(payload string) Format {
	if markup.MatchString(payload) {
		return FormatHTML
	}
	bare := entity.ReplaceAllString(payload, "")
	switch {
	case strings.ContainsAny(bare, `<>&"`):
		return FormatLiteral
	case len(bare) != len(payload):
		return FormatHTML
	}
	return FormatAuto
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "\n", "<br>")

// encode writes text as a client of the format reads it.
func encode(f Format, text string) string {
	switch f {
	case FormatHTML:
		return escape(text)
	case formatEntities:
		return strings.ReplaceAll(text, "&", "&amp;")
	}
	return text
}

// escape makes HTML of text, so that it is shown as it is.
func escape(text string) string { return escaper.Replace(text) }

// unescape makes text of HTML: tags are left out, line breaks kept, and a link says
// where it leads if its text does not.
func unescape(in string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(in))
	href, linkFrom, skip := "", 0, ""
	newline := func() {
		if b.Len() > 0 && !strings.HasSuffix(b.String(), "\n") {
			b.WriteByte('\n')
		}
	}
	for {
		switch z.Next() {
		case html.ErrorToken:
			if z.Err() != io.EOF {
				return in // cannot be: it reads a string
			}
			return b.String()
		case html.TextToken:
			if skip == "" {
				b.WriteString(strings.ReplaceAll(html.UnescapeString(string(z.Raw())), "\u00a0", " "))
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			t := z.Token()
			switch t.Data {
			case "br":
				b.WriteByte('\n')
			case "p", "div", "li", "tr", "blockquote":
				newline()
			case "script", "style", "title":
				if t.Type == html.StartTagToken {
					skip = t.Data
				}
			case "a":
				href, linkFrom = attr(t, "href"), b.Len()
			case "img":
				b.WriteString(attr(t, "alt"))
			}
		case html.EndTagToken:
			t := z.Token()
			switch {
			case t.Data == skip:
				skip = ""
			case t.Data == "a":
				if text := b.String()[linkFrom:]; href != "" && text != href && "mailto:"+text != href {
					b.WriteString(" <" + href + ">")
				}
				href = ""
			}
		}
	}
}

func attr(t html.Token, name string) string {
	for _, a := range t.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
