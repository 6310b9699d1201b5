package stream

import (
	"bytes"
	"io"
)

// frameKind says what framer.next found.
type frameKind int

const (
	frameElement frameKind = iota // one complete element below the stream's root
	frameHeader                   // the start tag of the root: <stream:stream …>
	frameEnd                      // its end tag: </stream:stream>
)

// state is where in the XML the scanner stands.
type state uint8

const (
	inContent state = iota // between tags
	inLT                   // behind '<'
	inOpen                 // in a start tag, outside quotes
	inSlash                // behind the '/' of <a/>
	inQuote                // in an attribute value
	inClose                // in an end tag
	inBang                 // in "<![CDATA["
	inCDATA                // in a CDATA section
	inDecl                 // in <?xml … ?>, before the header only
)

const (
	cdataBegin = "[CDATA["
	readSize   = 16 << 10 // one TLS record
	keepHead   = 2 << 10  // of a stanza that is skipped
)

// framer cuts the bytes of a stream into elements. It knows tags, quotes and
// CDATA, and nothing of names: what it cuts is for the element parser. Bytes are looked
// at once however they arrive. Memory is bounded by max: a larger element is
// skipped while it is scanned.
type framer struct {
	r   io.Reader
	max int

	buf  []byte
	from int // where the element begins in buf
	at   int // next byte to scan
	size int // bytes of the element scanned so far
	head []byte
	skip bool // the element is above max: only head is kept

	st     state
	depth  int
	header bool // the start tag of the root is to come
	root   bool // the tag under way is the root's
	began  bool // an element is under way
	quote  byte
	match  int // of cdataBegin, or ']' seen of its end
}

// idleReader calls idle before each read, which may wait.
type idleReader struct {
	io.Reader
	idle func()
}

func (r idleReader) Read(p []byte) (int, error) {
	r.idle()
	return r.Reader.Read(p)
}

func newFramer(r io.Reader, max int) *framer {
	return &framer{r: r, max: max, header: true}
}

// restart makes the framer expect a new header (RFC 6120 §4.3.3).
func (f *framer) restart() { f.header = true }

// buffered returns how many bytes were read that next has not returned yet.
func (f *framer) buffered() int { return len(f.buf) - f.at }

// next returns the next frame. Its bytes are good until the next call. Errors:
// *TooLargeError, after which the next call goes on; *StreamError of ours for
// what is no XML stream; and those of the reader.
func (f *framer) next() (frameKind, []byte, error) {
	for {
		kind, done, err := f.scan()
		switch {
		case err != nil:
			return 0, nil, err
		case done && f.skip:
			err := &TooLargeError{Size: f.size, Max: f.max, head: f.head}
			f.skip, f.head, f.size = false, nil, 0
			f.from = f.at
			return 0, nil, err
		case done:
			frame := f.buf[f.from:f.at]
			f.from, f.size = f.at, 0
			return kind, frame, nil
		}
		if err := f.fill(); err != nil {
			return 0, nil, err
		}
	}
}

// fill makes room and reads.
func (f *framer) fill() error {
	if !f.began {
		f.from = f.at
	}
	f.skipLarge()
	if f.from > 0 {
		n := copy(f.buf, f.buf[f.from:])
		f.buf = f.buf[:n]
		f.at -= f.from
		f.from = 0
	}
	switch {
	case len(f.buf) == 0 && cap(f.buf) > 4*readSize:
		f.buf = nil // a large stanza has gone
		fallthrough
	case cap(f.buf)-len(f.buf) < readSize:
		grown := make([]byte, len(f.buf), max(2*cap(f.buf), 2*readSize))
		copy(grown, f.buf)
		f.buf = grown
	}
	n, err := f.r.Read(f.buf[len(f.buf) : len(f.buf)+readSize])
	f.buf = f.buf[:len(f.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// skipLarge lets go of an element that has grown above max.
func (f *framer) skipLarge() {
	if f.began && !f.skip && f.size > f.max {
		f.skip = true
		f.head = bytes.Clone(f.buf[f.from:min(f.at, f.from+keepHead)])
	}
	if f.skip {
		f.from = f.at
	}
}

// scan looks at what has been read. done means that a frame ends at f.at.
func (f *framer) scan() (kind frameKind, done bool, err error) {
	for f.at < len(f.buf) {
		start := f.at
		kind, done, err = f.step()
		if f.began || done {
			f.size += f.at - start
		}
		if done && f.size > f.max {
			f.began = true
			f.skipLarge()
			f.began = false
		}
		if done || err != nil {
			return kind, done, err
		}
	}
	return 0, false, nil
}

// find advances to behind the next b, or to the end of what has been read.
func (f *framer) find(b byte) bool {
	n := bytes.IndexByte(f.buf[f.at:], b)
	if n < 0 {
		f.at = len(f.buf)
		return false
	}
	f.at += n + 1
	return true
}

// step scans on to the next byte that means something.
func (f *framer) step() (kind frameKind, done bool, err error) {
	switch f.st {
	case inContent:
		if f.depth == 0 {
			return 0, false, f.between()
		}
		if f.find('<') {
			f.st = inLT
		}
	case inQuote:
		if f.find(f.quote) {
			f.st = inOpen
		}
	case inClose:
		if f.find('>') {
			return f.closed()
		}
	case inCDATA:
		f.inCDATA()
	case inDecl:
		if f.find('>') {
			f.st, f.began = inContent, false
			f.size, f.from = 0, f.at
		}
	default:
		b := f.buf[f.at]
		f.at++
		return f.markup(b)
	}
	return 0, false, nil
}

// between skips white space between stanzas.
func (f *framer) between() error {
	switch b := f.buf[f.at]; b {
	case ' ', '\t', '\r', '\n':
		f.at++
		return nil
	case '<':
		f.from = f.at
		f.at++
		f.st, f.began, f.size = inLT, true, 0
		return nil
	}
	return notWellFormed("text between stanzas")
}

// markup handles one byte of a tag.
func (f *framer) markup(b byte) (kind frameKind, done bool, err error) {
	switch f.st {
	case inLT:
		return 0, false, f.afterLT(b)
	case inOpen:
		switch b {
		case '\'', '"':
			f.st, f.quote = inQuote, b
		case '/':
			f.st = inSlash
		case '>':
			return f.opened()
		case '<':
			return 0, false, notWellFormed("< in a tag")
		}
	case inSlash:
		if b != '>' || f.root {
			return 0, false, notWellFormed("/ in a tag")
		}
		f.st = inContent
		return f.ended()
	case inBang:
		if b != cdataBegin[f.match] {
			return 0, false, restricted("comment or document type")
		}
		if f.match++; f.match == len(cdataBegin) {
			f.st, f.match = inCDATA, 0
		}
	}
	return 0, false, nil
}

func (f *framer) afterLT(b byte) error {
	switch {
	case b == '/':
		f.st = inClose
		if f.header {
			return notWellFormed("end tag before the stream")
		}
	case b == '?' && f.header:
		f.st = inDecl
	case b == '?':
		return restricted("processing instruction")
	case b == '!' && f.depth > 0:
		f.st, f.match = inBang, 0
	case b == '!':
		return restricted("comment or document type")
	case b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_' || b == ':' || b >= 0x80:
		f.st, f.root = inOpen, f.header
	default:
		return notWellFormed("bad name")
	}
	return nil
}

// opened is called behind a start tag, closed behind an end tag, and ended where
// an element ends.
func (f *framer) opened() (frameKind, bool, error) {
	f.st = inContent
	if f.root {
		f.header, f.root, f.began = false, false, false
		return frameHeader, true, nil
	}
	f.depth++
	return 0, false, nil
}

func (f *framer) closed() (frameKind, bool, error) {
	f.st = inContent
	if f.depth == 0 {
		f.began = false
		return frameEnd, true, nil
	}
	f.depth--
	return f.ended()
}

func (f *framer) ended() (frameKind, bool, error) {
	if f.depth > 0 {
		return 0, false, nil
	}
	f.began = false
	return frameElement, true, nil
}

// inCDATA advances to behind "]]>".
func (f *framer) inCDATA() {
	if f.match == 0 {
		if f.find(']') {
			f.match = 1
		}
		return
	}
	b := f.buf[f.at]
	f.at++
	switch {
	case b == ']':
		f.match = min(f.match+1, 2)
	case b == '>' && f.match == 2:
		f.st, f.match = inContent, 0
	default:
		f.match = 0
	}
}

func notWellFormed(what string) error {
	return &StreamError{Condition: "not-well-formed", Text: what, Ours: true}
}

func restricted(what string) error {
	return &StreamError{Condition: "restricted-xml", Text: what, Ours: true}
}
