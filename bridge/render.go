package bridge

import (
	"strings"
	"time"
)

// render makes the line that a row is to its destination: who said it, when if
// it is late, that it came in clear where that is marked, and what.
func render(r *Row, to, from *member, mark string, late bool, loc *time.Location, now time.Time) Outgoing {
	out := Outgoing{
		ID: r.ID, To: r.To, Floor: max(to.floor.Out, r.Floor.Out), Clear: to.clear, Schemes: to.bridge.cfg.Schemes,
		Said: r.Said, Late: late,
	}
	if r.Floor.Encrypted() { // it was when this was said
		out.Clear = ClearRoom{}
	}
	if r.Kind >= RowOwn {
		out.Text, out.Notice = r.Text, true
		return out
	}
	var p string
	if r.Kind == RowAction {
		p = "* " + r.Name + "@" + from.origin + " "
	} else {
		p = to.template().prefix(r.Name, from.origin)
	}
	p += mark
	if late {
		p += lateMark(r.Said.In(loc), now.In(loc))
	}
	out.Prefix = p
	out.Notice = r.Kind == RowNotice && to.room.Kind == Channel // so that no other bot answers it
	out.Text = Text{prefixed(p, r.Text.s, to.room.Kind)}
	return out
}

// prefixed puts p before text: to a channel once, because the IRC leg repeats it
// on every line it makes; elsewhere on every line, so that no line can look like
// somebody else's.
func prefixed(p, text string, kind RoomKind) string {
	if kind == Channel {
		return p + text
	}
	n := strings.Count(text, "\n")
	if n == 0 {
		return p + text
	}
	var b strings.Builder
	b.Grow(len(text) + (n+1)*len(p))
	for line := range strings.Lines(text) {
		b.WriteString(p)
		b.WriteString(line)
	}
	return b.String()
}

// lateMark says when a late line was said: "(14:02) ", with the day where it was
// another one.
func lateMark(said, now time.Time) string {
	if y, m, d := now.Date(); said.Before(time.Date(y, m, d, 0, 0, 0, 0, now.Location())) {
		return said.Format("(2 Jan 15:04) ")
	}
	return said.Format("(15:04) ")
}
