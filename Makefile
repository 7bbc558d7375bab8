# PG=14 … PG=18 chooses the PostgreSQL version; the newest one installed is the default.

.PHONY: help setup build install demo test lint bench clean
.NOTPARALLEL:

help:
	@echo 'make demo     a job for each file of a PostgreSQL installation, on a throwaway cluster'
	@echo 'make test     all tests, on throwaway clusters; TEST=word: only tests whose name contains it'
	@echo 'make lint     format, clippy and the order of the files'
	@echo 'make bench    speed, against its bars and against other queues, half an hour; QUICK=1: 5 minutes'
	@echo 'make install  into your own server: PG_CONFIG, or the pg_config in PATH'
	@echo 'make setup    what building needs (demo, test, lint and build begin with it)'

setup:
	@tools/setup

build: setup
	@PROFILE=dev tools/install sandbox

install:
	@tools/install server

demo: setup
	@tools/install sandbox
	@tools/cluster with shared_preload_libraries=minion -- tools/demo

test: setup
	@tools/test

lint: setup
	@tools/test fmt clippy layers

bench:
	@bench/run

clean:
	@tools/env sh -c 'cargo clean && rm -rf "$$SANDBOX"'
