package xmpp

import (
	"crypto/sha1" // XEP-0115 says SHA-1; nothing rests on it
	"encoding/base64"
	"slices"
	"strings"

	"drawbridge/xmpp/element"
)

const (
	softwareName = "Drawbridge"
	capsNode     = "urn:x-drawbridge"
)

// features are what we announce, sorted as XEP-0115 §5.1 asks.
var features = func() []string {
	f := []string{nsCaps, nsInfo, nsItems, nsPing, nsTime, nsLast, nsVersion, nsReceipts, nsMUC, nsDelay, nsSID, nsEME}
	slices.Sort(f)
	return f
}()

// capsVer is the verification string of our identity and features (§5.1).
func capsVer(features []string) string {
	var b strings.Builder
	b.WriteString("client/bot//" + softwareName + "<")
	for _, f := range features {
		b.WriteString(f + "<")
	}
	sum := sha1.Sum([]byte(b.String()))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// ourFeatures leaves version out where it is hidden, and has what the schemes want
// that publish keys.
func (s *session) ourFeatures() []string {
	announcers := s.leg.announcers()
	if len(announcers) == 0 && !s.conf().HideVersion {
		return features
	}
	out := slices.DeleteFunc(slices.Clone(features), func(f string) bool { return f == nsVersion && s.conf().HideVersion })
	for _, a := range announcers {
		out = append(out, a.Features()...)
	}
	slices.Sort(out)
	return out
}

// capsElement is <c/> for our presences.
func (s *session) capsElement() *element.Element {
	return element.New(nsCaps, "c", "hash", "sha-1", "node", capsNode, "ver", capsVer(s.ourFeatures()))
}

// answerInfo answers disco#info (XEP-0030): for the bare question and for the
// node of our caps.
func (s *session) answerInfo(q *element.Element, reply func(*element.Element), e *element.Element) {
	f := s.ourFeatures()
	if node := q.Get("node"); node != "" && node != capsNode+"#"+capsVer(f) {
		s.refuse(e, "cancel", "item-not-found")
		return
	}
	out := element.New(nsInfo, "query", "node", q.Get("node")).Add(
		element.New(nsInfo, "identity", "category", "client", "type", "bot", "name", softwareName))
	for _, name := range f {
		out.Add(element.New(nsInfo, "feature", "var", name))
	}
	reply(out)
}

// clients are the programs that help texts know by name, and what their caps
// node or version answer contains.
var clients = []struct{ mark, name string }{
	{"psi-im.org", "psi"},
	{"psi-dev", "psi"},
	{"psi-plus", "psi"},
	{"gajim", "gajim"},
	{"dino", "dino"},
	{"pidgin", "pidgin"},
	{"profanity", "profanity"},
	{"mcabber", "mcabber"},
}

// clientOf names the program behind a caps node (XEP-0115) or a name in an answer
// to XEP-0092, "" if it is not one of those. It is a hint for help texts only.
func clientOf(node string) string {
	node = strings.ToLower(node)
	for _, c := range clients {
		if strings.Contains(node, c.mark) {
			return c.name
		}
	}
	if node == "psi" || strings.HasPrefix(node, "psi ") {
		return "psi"
	}
	return ""
}
