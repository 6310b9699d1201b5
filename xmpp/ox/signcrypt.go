package ox

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// Limits of what is inside of an encryption.
const (
	maxTo     = 64 // recipients named
	maxInside = 32 // elements of a payload
)

// limits bound the XML of a content element. Its bytes are bounded before.
var limits = element.Limits{Bytes: 64 << 10, Depth: 12, Attrs: 32, Children: 256, Elements: 1024}

// signcrypt is a content element of XEP-0373 §3.1.
type signcrypt struct {
	to      []string // JIDs, as they stand there
	time    time.Time
	pad     string
	payload []*element.Element
}

// errContent says that what was inside is no <signcrypt/>.
var errContent = fmt.Errorf("%w: no <signcrypt/> inside", e2ee.ErrMalformed)

// parseSignCrypt reads the content element of a message. <sign/> and <crypt/>,
// which XEP-0374 §3.1 forbids, are e2ee.ErrSignature: they are not signed, or not
// for us alone.
func parseSignCrypt(data []byte) (*signcrypt, error) {
	e, err := element.Parse([]byte(strings.TrimSpace(string(data))), element.Scope{}, limits)
	switch {
	case errors.Is(err, element.ErrLimit):
		return nil, fmt.Errorf("%w: inside of the encryption", e2ee.ErrTooLarge)
	case err != nil:
		return nil, errContent // which may be text, so nothing of it is told
	case e.Is(NS, "crypt"), e.Is(NS, "sign"):
		return nil, fmt.Errorf("%w: <%s/> where <signcrypt/> must be", e2ee.ErrSignature, e.Local)
	case !e.Is(NS, "signcrypt"):
		return nil, errContent
	}
	s := &signcrypt{}
	times, payloads := 0, 0
	for _, c := range e.Children {
		switch {
		case c.Space != NS:
		case c.Local == "to":
			if len(s.to) >= maxTo {
				return nil, fmt.Errorf("%w: more than %d recipients", e2ee.ErrTooLarge, maxTo)
			}
			s.to = append(s.to, c.Get("jid"))
		case c.Local == "time":
			times++
			if s.time, err = parseTime(c.Get("stamp")); err != nil {
				return nil, err
			}
		case c.Local == "rpad":
			s.pad = c.Text
		case c.Local == "payload":
			payloads++
			s.payload = c.Children
		}
	}
	switch {
	case len(s.to) == 0, times != 1, payloads != 1:
		return nil, fmt.Errorf("%w: <signcrypt/> with %d recipients, %d times, %d payloads", e2ee.ErrMalformed, len(s.to), times, payloads)
	case len(s.payload) > maxInside:
		return nil, fmt.Errorf("%w: more than %d elements in a payload", e2ee.ErrTooLarge, maxInside)
	}
	return s, nil
}

// parseTime reads a time stamp of XEP-0082. profanity 0.13.1 writes the offset
// without its colon ("2026-11-21T22:09:40+0000"), which is not RFC 3339.
func parseTime(stamp string) (time.Time, error) {
	if len(stamp) <= 40 {
		for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05.999999999Z0700"} {
			if t, err := time.Parse(form, stamp); err == nil {
				return t, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%w: <time/> is not a date", e2ee.ErrMalformed)
}

// appendTo appends the element as XML.
func (s *signcrypt) appendTo(dst []byte) []byte {
	e := element.New(NS, "signcrypt")
	for _, jid := range s.to {
		e.Add(element.New(NS, "to", "jid", jid))
	}
	e.Add(
		element.New(NS, "time", "stamp", s.time.UTC().Format("2006-01-02T15:04:05Z")),
		element.New(NS, "rpad").SetText(s.pad),
		element.New(NS, "payload").Add(s.payload...))
	return element.AppendXML(dst, e, "")
}

// isFor reports whether jid, bare and in lower case, is among the recipients. A
// client may write it with a resource.
func (s *signcrypt) isFor(jid string) bool {
	for _, to := range s.to {
		bare, _, _ := strings.Cut(to, "/")
		if jid != "" && strings.EqualFold(bare, jid) {
			return true
		}
	}
	return false
}

// body returns the text of the payload, and whether it has one. XEP-0374 §2.2: of
// either namespace.
func (s *signcrypt) body() (text string, ok bool) {
	for _, c := range s.payload {
		if c.Local == "body" && (c.Space == nsClient || c.Space == nsServer) {
			return c.Text, true
		}
	}
	return "", false
}

const (
	nsClient = "jabber:client"
	nsServer = "jabber:server"
)
