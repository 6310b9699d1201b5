package config

import "testing"

func TestGood(t *testing.T) {
	c, errs := load(t, home(t), good, Options{})
	if errs != nil {
		t.Fatal(errs)
	}
	if got := c.Account("dev-bot").Password.Expose(); got != "xmpp pass" {
		t.Errorf("password is %q", got)
	}
}
