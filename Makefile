# Everything runs in .venv, made by the first target that needs it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SWEEP := search_spaces/quickstart.yaml
STORAGE := sweeps
GPU_TESTS := tests/architectures/test_architectures_gpu.py tests/architectures/test_pkm_gpu.py tests/architectures/test_topk_gpu.py \
	tests/architectures/test_memories_gpu.py tests/architectures/test_trime_gpu.py tests/memory/test_memory_monitor.py tests/tasks/test_forecasting_gpu.py \
	tests/tasks/test_language_gpu.py tests/training/test_training_gpu.py tests/architectures/test_memo_gpt_gpu.py tests/architectures/test_lora_gpu.py \
	tests/tasks/test_segment_gpu.py tests/tasks/test_footprint_gpu.py \
	tests/prediction/test_prediction_gpu.py tests/memory/test_packing_gpu.py

.PHONY: sweep test test-cluster test-long fuzz lint format ui gpu-test benchmarks clean

# Packages come in two steps, so that a sweep needs no test tools.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[hf,retrieval]'
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

$(VENV)/.installed-cluster: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test-cluster]'
	touch $@

sweep: $(VENV)/.installed ## runs the quickstart sweep and prints its table
	$(BIN)/memsweep run $(SWEEP) --storage $(STORAGE) --name quickstart-$$(date +%Y%m%d-%H%M%S) --yes

test: lint ## the test suite
	$(BIN)/python -m pytest -m "not gpu and not long and not cluster"

test-cluster: $(VENV)/.installed-cluster ## Ray on hosts made of network namespaces; what the machine does not allow is skipped with the reason
	tests/cluster/install.sh
	$(BIN)/python -m pytest -m "cluster" -rsP tests/cluster

test-long: $(VENV)/.installed-test ## what takes minutes
	$(BIN)/python -m pytest -m "long and not cluster"

fuzz: $(VENV)/.installed-test ## hypothesis for half an hour
	$(BIN)/python tests/hostile/fuzz.py --minutes 30

lint: $(VENV)/.installed-test ## style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ui: $(VENV)/.installed ## the MLflow UI on loopback
	$(BIN)/memsweep ui --storage $(STORAGE)

gpu-test: ## the tests that need a CUDA device; torch, numpy and pytest are enough
	$(PYTHON) -m pytest -m gpu $(GPU_TESTS)

benchmarks: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.constrained_search
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.driver_scale
	$(BIN)/python -m benchmarks.forecasting_reference

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
