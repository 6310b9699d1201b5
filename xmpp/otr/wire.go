package otr

import (
	"strconv"
	"strings"

	"drawbridge/xmpp/otr/engine"
)

// form is what a body is, by its beginning (Protocol v3, "The protocol messages").
type form uint8

const (
	formPlain    form = iota
	formTagged        // plain text with a whitespace tag
	formQuery         // "?OTRv2?"
	formEncoded       // "?OTR:….", a handshake or data message
	formFragment      // "?OTR,k,n,…," or "?OTR|from|to,k,n,…,"
	formError         // "?OTR Error: …"
)

// body is a parsed body.
type body struct {
	form form
	text string // of formTagged: without the tag
	// version is the highest that we have too of those a query or tag offers; 0 for
	// none.
	version byte
	// Of formFragment; from and to are the instance tags, by version 3.
	piece    string
	k, n     int
	from, to uint32
}

// The whitespace tag: base, then one group of eight for each version offered.
const (
	tagBase = " \t  \t\t\t\t \t \t \t  "
	tagV2   = "  \t\t  \t "
	tagV3   = "  \t\t  \t\t"
	tagLen  = 8
)

// parse tells what a body is. Anything it does not know is plain text.
func parse(in string) body {
	s := strings.TrimLeft(in, " \t\r\n")
	rest, ok := strings.CutPrefix(s, "?OTR")
	if !ok {
		return parseTag(in)
	}
	switch {
	case strings.HasPrefix(rest, ":"):
		return body{form: formEncoded, text: strings.TrimRight(s, " \t\r\n")}
	case strings.HasPrefix(rest, ",") || strings.HasPrefix(rest, "|"):
		return parseFragment(strings.TrimRight(rest, " \t\r\n"))
	case strings.HasPrefix(rest, " Error:"):
		return body{form: formError}
	}
	return parseQuery(in, rest)
}

// parseQuery reads "?", "?v2?" and "v23?" behind "?OTR".
func parseQuery(in, rest string) body {
	afterOne, one := strings.CutPrefix(rest, "?")
	versions, v := strings.CutPrefix(afterOne, "v")
	if v {
		list, _, end := strings.Cut(versions, "?")
		if end && strings.Trim(list, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" {
			return body{form: formQuery, version: best(strings.Contains(list, "2"), strings.Contains(list, "3"))}
		}
	}
	if one {
		return body{form: formQuery} // version 1 alone
	}
	return body{form: formPlain, text: in}
}

// best is the version to speak.
func best(two, three bool) byte {
	switch {
	case three:
		return 3
	case two:
		return 2
	}
	return 0
}

func parseTag(in string) body {
	before, rest, ok := strings.Cut(in, tagBase)
	if !ok {
		return body{form: formPlain, text: in}
	}
	var two, three bool
	for len(rest) >= tagLen && strings.Trim(rest[:tagLen], " \t") == "" {
		two, three = two || rest[:tagLen] == tagV2, three || rest[:tagLen] == tagV3
		rest = rest[tagLen:]
	}
	return body{form: formTagged, version: best(two, three), text: before + rest}
}

// parseFragment reads ",k,n,piece," and, of version 3, "|sender|receiver,k,n,piece,".
func parseFragment(s string) body {
	b := body{form: formFragment}
	parts := strings.Split(s, ",")
	if tags, ok := strings.CutPrefix(parts[0], "|"); ok {
		from, to, _ := strings.Cut(tags, "|")
		b.from, b.to = tag(from), tag(to)
		if !engine.ValidTags(b.from, b.to) || b.to == 0 && strings.Trim(to, "0") != "" {
			return b // k and n are 0: no fragment is like that
		}
	}
	if len(parts) != 5 || parts[4] != "" || parts[3] == "" {
		return b
	}
	b.k, b.n, b.piece = digits(parts[1]), digits(parts[2]), parts[3]
	return b
}

// tag reads an instance tag; 0 for what is none.
func tag(s string) uint32 {
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// digits reads a number of at most five digits, as there are; 0 for anything else.
func digits(s string) (n int) {
	if len(s) > 5 {
		return 0
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0
		}
		n = 10*n + int(c-'0')
	}
	return n
}
