// Package web serves /metrics, /healthz and /readyz. It shows counts and never
// names of people.
package web
