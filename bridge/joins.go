package bridge

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	joinsEvery = time.Minute
	joinsNames = 15   // named in a digest, the others are counted
	joinsMax   = 1000 // changes kept for a digest, the others are counted
)

// netsplit is the quit message of a netsplit: the names of two servers.
var netsplit = regexp.MustCompile(`^[\w*-]+(\.[\w*-]+)+ [\w*-]+(\.[\w*-]+)+$`)

// digest gathers the comings and goings of a room for a minute.
type digest struct {
	since   time.Time
	joined  []string
	left    []string
	renamed []string
	split   []string
	more    int
}

// noteJoin notes a coming or going for the rooms that want to hear it.
func (d *dispatcher) noteJoin(t *table, e *Event, now time.Time) {
	routes := t.routes[e.Room]
	if !slices.ContainsFunc(routes, func(m *member) bool { return m.bridge.cfg.Joins == JoinsDigest }) {
		return
	}
	if _, paused := routes[0].out.pausedUntil(now); paused {
		return
	}
	g := d.joins[e.Room]
	if g == nil {
		g = &digest{since: now}
		d.joins[e.Room] = g
	}
	names := routes[0].bridge.names
	g.note(e, names.show(e.Who), func() string { return names.show(Sender{Nick: e.Detail, Person: e.Who.Person}) })
}

// note folds what cancels out: who left in a split and is back, who came and
// went within the minute.
func (g *digest) note(e *Event, name string, newName func() string) {
	if len(g.joined)+len(g.left)+len(g.renamed)+len(g.split) >= joinsMax {
		g.more++
		return
	}
	switch e.Kind {
	case Joined:
		if !cut(&g.split, name) && !cut(&g.left, name) {
			g.joined = append(g.joined, name)
		}
	case Parted, Quit:
		switch {
		case cut(&g.joined, name):
		case e.Kind == Quit && netsplit.MatchString(e.Detail):
			g.split = append(g.split, name)
		default:
			g.left = append(g.left, name)
		}
	case Renamed:
		g.renamed = append(g.renamed, name+" is now "+newName())
	}
}

// cut removes name from *s, if it is there.
func cut(s *[]string, name string) bool {
	i := slices.Index(*s, name)
	if i >= 0 {
		*s = slices.Delete(*s, i, i+1)
	}
	return i >= 0
}

// text is the digest in one line, "" when everything cancelled out.
func (g *digest) text(room string) string {
	var parts []string
	for _, p := range [...]struct {
		what  string
		names []string
	}{{"joined", g.joined}, {"left", g.left}, {"renamed", g.renamed}} {
		if len(p.names) > 0 {
			parts = append(parts, p.what+": "+listed(p.names, joinsNames))
		}
	}
	if n := len(g.split); n > 0 {
		parts = append(parts, fmt.Sprintf("%d left in a netsplit", n))
	}
	if g.more > 0 {
		parts = append(parts, fmt.Sprintf("%d more changes", g.more))
	}
	if parts == nil {
		return ""
	}
	return room + ": " + strings.Join(parts, "; ")
}

// flushJoins tells the digests that are a minute old.
func (d *dispatcher) flushJoins(t *table, now time.Time) {
	for room, g := range d.joins {
		if now.Sub(g.since) < joinsEvery {
			continue
		}
		delete(d.joins, room)
		for _, m := range t.routes[room] {
			text := g.text(m.display())
			if m.bridge.cfg.Joins != JoinsDigest || text == "" {
				continue
			}
			for _, to := range m.to {
				d.c.sayNow(to, text)
			}
		}
	}
}
