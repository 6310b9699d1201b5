package xmpp

import (
	"context"
	"strconv"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"drawbridge/bridge"
	"drawbridge/xmpp/element"
	"drawbridge/xmpp/stream"
)

// A restarted process resumes the session of the one before, where the server still
// has it: what was said meanwhile comes as it would have come, archive or not. The
// count of what was handled is in the journal with each message. What the old
// process knew of rooms and people is asked for again; which of its rows have
// arrived, the archives tell (Ask).

// sessionName is the cursor that keeps the session.
const sessionName = "xep0198"

// savedString is the value of that cursor: id, full JID and location.
func savedString(v stream.Saved) string {
	return v.ID + "\n" + v.JID.String() + "\n" + v.Location
}

func parseSaved(value string) (v stream.Saved, ok bool) {
	f := strings.Split(value, "\n")
	if len(f) != 3 || f[0] == "" {
		return v, false
	}
	j, err := jid.Parse(f[1])
	return stream.Saved{ID: f[0], JID: j, Location: f[2]}, err == nil
}

// withCount adds to the value of a place how many stanzas of the session were handled
// with the message that has it.
func withCount(place string, v stream.Saved) string {
	return place + "\n" + v.ID + "\n" + strconv.FormatUint(uint64(v.Handled), 10)
}

// countOf returns the count in the value of a place, of the session id.
func countOf(value, id string) (h uint32, ok bool) {
	f := strings.Split(value, "\n")
	if len(f) != 3 || f[1] != id {
		return 0, false
	}
	n, err := strconv.ParseUint(f[2], 10, 32)
	return uint32(n), err == nil
}

// revival is the session of an earlier process in the cursors known. Without a
// message in it there is no count, and nothing to resume.
func revival(known map[string]string, own jid.JID) (v stream.Saved, ok bool) {
	v, ok = parseSaved(known[sessionName])
	if !ok || v.JID.String() != own.String() {
		return v, false
	}
	counted := false
	for _, value := range known {
		if h, ok := countOf(value, v.ID); ok && (!counted || int32(h-v.Handled) > 0) {
			v.Handled, counted = h, true
		}
	}
	return v, counted
}

// keepSession remembers the session of s for a later process.
func (l *Leg) keepSession(s *session) {
	if l.deps.Cursors == nil {
		return
	}
	v, ok := s.st().Saved(0)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.deps.Cursors.SetCursor(ctx, l.name, bridge.Cursor{Name: sessionName, Value: savedString(v)}); err != nil {
		l.log.Error("the session was not kept for a restart", "leg", l.name, "err", err)
	}
}

// probeContacts asks who is online: the server tells only a session that is new.
func (s *session) probeContacts() {
	for _, p := range s.conf().People {
		for _, j := range p.JIDs {
			s.out.own(element.New(nsClient, "presence", "type", "probe", "to", j))
		}
	}
}
