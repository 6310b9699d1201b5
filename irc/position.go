package irc

import (
	"strconv"
	"strings"
	"time"

	"drawbridge/bridge"
)

// maxMsgID is the longest msgid that a position keeps, in bytes.
const maxMsgID = 256

// overlap is how far before the last line taken in a replay still counts: the
// servers of a network do not agree on the order of lines to the millisecond. What
// was taken in already is known by its msgid.
const overlap = time.Minute

// position is where a line stands in a channel's history, by the server's clock.
type position struct {
	id string    // msgid, "" if there was none
	at time.Time // server-time, in milliseconds
	n  int       // of the lines taken in of that second, this is number n
}

// known reports whether p is a place at all.
func (p position) known() bool { return !p.at.IsZero() }

// next is the position of a line that follows p.
func (p position) next(id string, at time.Time) position {
	q := position{id: id, at: at, n: 1}
	if sameSecond(p.at, at) {
		q.n = p.n + 1
	}
	if len(id) > maxMsgID {
		q.id = ""
	}
	return q
}

func sameSecond(a, b time.Time) bool { return a.Unix() == b.Unix() }

// cursor is what is kept with the line: time, count, msgid.
func (p position) cursor(room string) bridge.Cursor {
	if !p.known() {
		return bridge.Cursor{}
	}
	b := make([]byte, 0, 64)
	b = strconv.AppendInt(b, p.at.UnixMilli(), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(p.n), 10)
	b = append(append(b, ' '), p.id...)
	return bridge.Cursor{Name: lineCursor + room, Value: string(b)}
}

// parsePosition reads the value of a cursor; what is none is no place.
func parsePosition(value string) position {
	at, rest, _ := strings.Cut(value, " ")
	count, id, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(count)
	p := position{id: id, at: parseMillis(at), n: n}
	if err != nil || n < 1 || p.at.IsZero() || len(id) > maxMsgID {
		return position{}
	}
	return p
}

// ref is how CHATHISTORY names p by its msgid; false where it has none that can
// stand in a line.
func (p position) ref() (string, bool) {
	if p.id == "" || !cleanWord(p.id) {
		return "", false
	}
	return "msgid=" + p.id, true
}

// timeRef is how CHATHISTORY names a time.
func timeRef(t time.Time) string { return "timestamp=" + t.UTC().Format(serverTime) }

// serverTime is the form of the server-time tag (IRCv3 server-time).
const serverTime = "2006-01-02T15:04:05.000Z"
