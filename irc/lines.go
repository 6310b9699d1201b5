package irc

import (
	"bytes"
	"io"
	"strings"

	"github.com/ergochat/irc-go/ircmsg"
)

// maxLine is the longest line taken in: 8191 bytes of tags (IRCv3 message-tags)
// and 512 of message, with some to spare for servers with a larger LINELEN.
const maxLine = 8191 + 512 + 1536

// lineReader cuts lines from a connection. Unlike ircreader's it survives a read
// deadline in the middle of a line, skips an over-long line instead of ending
// the connection, and tells whether another line is there already.
type lineReader struct {
	r          io.Reader
	buf        []byte
	start, end int
	skipping   bool
	tooLong    uint64 // lines skipped since
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: r, buf: make([]byte, maxLine)}
}

// next returns the next line without its end. The slice holds until the call
// after. An error of the connection loses nothing that was read.
func (l *lineReader) next() ([]byte, error) {
	for searched := l.start; ; {
		if i := bytes.IndexByte(l.buf[searched:l.end], '\n'); i >= 0 {
			line := l.buf[l.start : searched+i]
			l.start = searched + i + 1
			if l.skipping {
				l.skipping = false
				l.tooLong++
				searched = l.start
				continue
			}
			return bytes.TrimSuffix(line, []byte{'\r'}), nil
		}
		if l.start > 0 {
			l.end = copy(l.buf, l.buf[l.start:l.end])
			l.start = 0
		}
		if l.end == len(l.buf) {
			l.skipping = true
			l.end = 0
		}
		searched = l.end
		n, err := l.r.Read(l.buf[l.end:])
		l.end += n
		if n == 0 && err != nil {
			return nil, err
		}
	}
}

// skipped returns how many over-long lines were skipped since it was last asked.
func (l *lineReader) skipped() uint64 {
	n := l.tooLong
	l.tooLong = 0
	return n
}

// more reports whether a whole line is there without reading.
func (l *lineReader) more() bool {
	return bytes.IndexByte(l.buf[l.start:l.end], '\n') >= 0
}

// parseLine parses a line of the server. NUL and CR inside it are dropped, and
// tags that ircmsg cannot take are left out: the rest of the line still counts.
func parseLine(line []byte) (ircmsg.Message, error) {
	s := string(line)
	if strings.ContainsAny(s, "\x00\r") {
		s = strings.NewReplacer("\x00", "", "\r", "").Replace(s)
	}
	m, err := ircmsg.ParseLine(s)
	if err == ircmsg.ErrorInvalidTagContent {
		_, rest, _ := strings.Cut(s, " ")
		return ircmsg.ParseLine(rest)
	}
	return m, err
}

// tag returns the value of a tag, "" if it is not there.
func tag(m *ircmsg.Message, name string) string {
	_, v := m.GetTag(name)
	return v
}

// param returns parameter i, "" if it is not there; -1 is the last.
func param(m *ircmsg.Message, i int) string {
	if i < 0 {
		i += len(m.Params)
	}
	if i < 0 || i >= len(m.Params) {
		return ""
	}
	return m.Params[i]
}
