.DEFAULT_GOAL := help
.PHONY: help demo up extras test check show

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

demo:  ## the main job from nothing: event, agent, approval, tool, spend
	@scripts/demo

up:  ## serve the control plane
	@scripts/up

extras:  ## what optional parts need: Kubernetes, object storage, traces, sign-in, channels
	@scripts/extras

test:  ## all tests that can run here
	@scripts/test

check:  ## format, lint, types, imports, spelling, house rules
	@scripts/check

show:  ## show one claim: make show NAME=approvals
	@scripts/show $(NAME)
