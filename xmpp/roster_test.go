package xmpp

import (
	"testing"
	"testing/synctest"
)

// asks takes what was sent, and counts the requests for a subscription.
func (r *rig) asks() (n int) {
	for e := r.st.Sent(); e != nil; e = r.st.Sent() {
		if e.Local == "presence" && e.Get("type") == "subscribe" {
			n++
		}
	}
	return n
}

// TestAskBackIsBounded: a contact's client that declines each request and asks by itself
// goes round only so often; a reload begins anew. Nobody is asked before the roster says
// who has agreed.
func TestAskBackIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conf := testConfig()
		conf.People = conf.People[:1]
		r := newRig(t, conf)
		r.start()
		defer r.stop()
		id := r.st.Sent().Get("id")
		reload := func() {
			t.Helper()
			if err := r.leg.Reconfigure(conf); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		reload()
		if n := r.asks(); n != 0 {
			t.Errorf("asked %d times before the roster is known", n)
		}
		r.push("<iq type='result' id='" + id + "'><query xmlns='jabber:iq:roster'/></iq>")
		for _, when := range []string{"at the login", "after a reload"} {
			n := 0
			for again := r.asks(); again > 0; again = r.asks() {
				r.push("<presence from='alice@x.org' type='unsubscribed'/>")
				r.push("<presence from='alice@x.org' type='subscribe'/>")
				if n += again; n > 100 {
					break
				}
			}
			if n != 1+maxAskBack {
				t.Errorf("%s: asked %d times, want %d", when, n, 1+maxAskBack)
			}
			reload()
		}
	})
}
