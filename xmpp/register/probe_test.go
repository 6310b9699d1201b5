package register

import (
	"errors"
	"slices"
	"testing"

	"drawbridge/xmpp/element"
)

// early is a server that lists features by namespace, and answers one question.
type early struct {
	t        *testing.T
	features []string
	answer   string // "": the stream breaks
	asked    int
}

var errBroken = errors.New("broken")

func (e *early) Offers(space, local string) bool {
	return local == "register" && slices.Contains(e.features, space)
}

func (e *early) IQ(iq *element.Element) (*element.Element, error) {
	e.asked++
	if iq.Get("type") != "get" {
		e.t.Errorf("a probe sends %s", xml(iq))
	}
	if e.answer == "" {
		return nil, errBroken
	}
	return parse(e.t, e.answer), nil
}

// TestProbe: in-band registration counts as open only where its form comes, and nothing
// says that it is for invitations.
func TestProbe(t *testing.T) {
	const page = `<iq type='result' id='offer'><query xmlns='jabber:iq:register'><instructions>On the web.</instructions><x xmlns='jabber:x:oob'><url>https://corp.example/new</url></x></query></iq>`
	for _, tt := range []struct {
		name     string
		features []string
		answer   string
		want     Offer
		err      error
		asked    int
	}{
		{"nothing is listed", nil, legacyForm, Offer{}, nil, 0},
		{"open", []string{FeatureNS}, legacyForm, Offer{Open: true}, nil, 1},
		{"open, by a data form", []string{FeatureNS}, dataForm, Offer{Open: true}, nil, 1},
		{"open, to people", []string{FeatureNS}, captchaForm, Offer{Open: true}, nil, 1},
		{"by invitation", []string{FeatureNS, nsToken}, legacyForm, Offer{}, nil, 0},
		{"by invitation, of old", []string{FeatureNS, nsTokenOld}, legacyForm, Offer{}, nil, 0},
		{"listed, and refused", []string{FeatureNS}, forbidden, Offer{}, nil, 1},
		{"on a web page", []string{FeatureNS}, page, Offer{Page: "https://corp.example/new"}, nil, 1},
		{"a form that asks for something else", []string{FeatureNS}, `<iq type='result' id='offer'><query xmlns='jabber:iq:register'><key/><email/></query></iq>`, Offer{}, nil, 1},
		{"rubbish", []string{FeatureNS}, `<iq type='result' id='offer'/>`, Offer{}, nil, 1},
		{"the stream breaks", []string{FeatureNS}, "", Offer{}, errBroken, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := &early{t: t, features: tt.features, answer: tt.answer}
			got, err := Probe(e)
			if got != tt.want || !errors.Is(err, tt.err) || e.asked != tt.asked {
				t.Errorf("%+v, %v after %d questions, want %+v, %v after %d", got, err, e.asked, tt.want, tt.err, tt.asked)
			}
		})
	}
}
