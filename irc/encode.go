package irc

import (
	"strings"
	"unicode/utf8"

	"drawbridge/bridge"
)

// encode renders m as the payloads of one or more lines of at most limit bytes:
// XEP-0393 styling becomes formatting codes, each LF and each split begins a new
// line, and each line begins with m.Prefix. Blank lines are left out. This file
// alone looks into message text.
func encode(m bridge.Outgoing, limit int) []string {
	text := m.Text.Reveal()
	prefix := m.Prefix
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	text = strings.TrimPrefix(text, prefix)
	prefix = shownPrefix(m, limit)
	if len(prefix)+len(text) <= limit && !strings.ContainsAny(text, "*_~`\n") && !hasControl(text) {
		if strings.TrimSpace(text) == "" {
			return nil
		}
		return []string{prefix + text}
	}
	var out []string
	block := false
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if strings.HasPrefix(line, "```") {
			block = !block
			continue
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		out = appendLine(out, line, prefix, limit, block)
	}
	return out
}

// shownPrefix is m's prefix as each line of at most limit bytes begins with it.
func shownPrefix(m bridge.Outgoing, limit int) string {
	return firstPiece(strings.Map(dropControl, m.Prefix), limit/2)
}

// appendLine appends one line of text, split where it must be.
func appendLine(out []string, line, prefix string, limit int, block bool) []string {
	if block {
		line = string(codeMono) + strings.Map(dropControl, line) + string(codeMono)
	} else {
		line = fromStyling(line)
	}
	room := limit - len(prefix)
	if len(line) > room && hasControl(line) {
		room -= len(styles)
	}
	pieces := splitText(line, room)
	if len(pieces) > 1 && hasControl(line) {
		carryStyles(pieces)
	}
	for _, p := range pieces {
		if strings.Trim(p, " \x02\x11\x1d\x1e") != "" {
			out = append(out, prefix+p)
		}
	}
	return out
}

// firstPiece returns s, or what splitText would cut off it first.
func firstPiece(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return splitText(s, limit)[0]
}
