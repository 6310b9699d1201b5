package main

import (
	"errors"
	"time"

	"drawbridge/internal/config"
)

// spanFlag is a duration as the configuration writes it.
type spanFlag time.Duration

func (f *spanFlag) String() string {
	if *f == 0 {
		return ""
	}
	return time.Duration(*f).String()
}

func (f *spanFlag) Type() string { return "TIME" }

func (f *spanFlag) Set(s string) error {
	d, err := config.ParseDuration(s)
	if err == nil && d <= 0 {
		err = errors.New("more than nothing")
	}
	*f = spanFlag(d)
	return err
}

// sinceFlag is a time: so long ago, or a date.
type sinceFlag time.Time

func (f *sinceFlag) String() string { return "" }
func (f *sinceFlag) Type() string   { return "TIME" }

func (f *sinceFlag) Set(s string) error {
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			*f = sinceFlag(t)
			return nil
		}
	}
	d, err := config.ParseDuration(s)
	if err != nil {
		return errors.New("write 2h, 30d, or a date as 2026-11-21 or 2026-11-21T15:04")
	}
	*f = sinceFlag(time.Now().Add(-d))
	return nil
}
