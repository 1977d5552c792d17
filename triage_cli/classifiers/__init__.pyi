# What other folders import from this one.

import triage_cli.classifiers.embedded.classifier
import triage_cli.classifiers.embedded.fit
import triage_cli.classifiers.embedded.word_vectors
from triage_cli.classifiers.asked_classifier import AskedClassifier as AskedClassifier
from triage_cli.classifiers.cascade import Cascade as Cascade
from triage_cli.classifiers.command import CommandClassifier as CommandClassifier
from triage_cli.classifiers.embedded import encoder as encoder
from triage_cli.classifiers.embedded import fitted_model as fitted_model
from triage_cli.classifiers.embedded import guess_ahead as guess_ahead
from triage_cli.classifiers.embedded import guesses as guesses
from triage_cli.classifiers.embedded import language_guard as language_guard
from triage_cli.classifiers.embedded import topics as topics
from triage_cli.classifiers.embedded.classifier import Head as Head
from triage_cli.classifiers.embedded.classifier import LocalClassifier as LocalClassifier
from triage_cli.classifiers.embedded.facility_location import likenesses as likenesses
from triage_cli.classifiers.embedded.facility_location import most_representative as most_representative
from triage_cli.classifiers.embedded.fitted_model import DEFAULT_MODEL as DEFAULT_MODEL
from triage_cli.classifiers.embedded.fitted_model import METHOD as METHOD
from triage_cli.classifiers.embedded.fitted_model import Floats as Floats
from triage_cli.classifiers.embedded.fitted_model import Integers as Integers
from triage_cli.classifiers.embedded.fitted_model import Model as Model
from triage_cli.classifiers.embedded.fitted_model import default_model as default_model
from triage_cli.classifiers.embedded.fitted_model import fingerprint as fingerprint
from triage_cli.classifiers.embedded.guess_ahead import GuessAhead as GuessAhead
from triage_cli.classifiers.embedded.guess_ahead import GuessProcess as GuessProcess
from triage_cli.classifiers.embedded.guesses import Guess as Guess
from triage_cli.classifiers.embedded.guesses import Guesser as Guesser
from triage_cli.classifiers.embedded.guesses import likeliest_labels as likeliest_labels
from triage_cli.classifiers.embedded.inference import STEP_CHARACTERS as STEP_CHARACTERS
from triage_cli.classifiers.embedded.inference import STEP_TEXTS as STEP_TEXTS
from triage_cli.classifiers.embedded.inference import Predictor as Predictor
from triage_cli.classifiers.embedded.inference import inference_steps as inference_steps
from triage_cli.classifiers.embedded.label_tree import LabelTree as LabelTree
from triage_cli.classifiers.embedded.language_guard import LANGUAGES_FILE as LANGUAGES_FILE
from triage_cli.classifiers.embedded.language_guard import LEANINGS_FILE as LEANINGS_FILE
from triage_cli.classifiers.embedded.language_guard import Told as Told
from triage_cli.classifiers.embedded.language_guard import told_language as told_language
from triage_cli.classifiers.embedded.logistic_regression import Design as Design
from triage_cli.classifiers.embedded.logistic_regression import fit_weights as fit_weights
from triage_cli.classifiers.embedded.logistic_regression import merged_terms as merged_terms
from triage_cli.classifiers.embedded.score_calibration import NEAR as NEAR
from triage_cli.classifiers.embedded.score_calibration import TEMPERATURES as TEMPERATURES
from triage_cli.classifiers.embedded.score_calibration import Distance as Distance
from triage_cli.classifiers.embedded.score_calibration import ScoreCalibration as ScoreCalibration
from triage_cli.classifiers.embedded.score_calibration import best_temperature as best_temperature
from triage_cli.classifiers.embedded.score_calibration import fitted_calibration as fitted_calibration
from triage_cli.classifiers.embedded.score_calibration import softmax as softmax
from triage_cli.classifiers.embedded.sentence_pieces import SentencePieces as SentencePieces
from triage_cli.classifiers.embedded.tokens import LENGTH_DIMENSIONS as LENGTH_DIMENSIONS
from triage_cli.classifiers.embedded.tokens import MAX_CHARACTERS as MAX_CHARACTERS
from triage_cli.classifiers.embedded.tokens import MAX_WORDS as MAX_WORDS
from triage_cli.classifiers.embedded.tokens import NGRAM_BUCKETS as NGRAM_BUCKETS
from triage_cli.classifiers.embedded.tokens import SHORTENED as SHORTENED
from triage_cli.classifiers.embedded.tokens import bare_word as bare_word
from triage_cli.classifiers.embedded.tokens import ngrams_of as ngrams_of
from triage_cli.classifiers.embedded.tokens import tokens_of as tokens_of
from triage_cli.classifiers.embedded.tokens import words_of as words_of
from triage_cli.classifiers.embedded.topics import find_mixtures as find_mixtures
from triage_cli.classifiers.embedded.topics import find_topics as find_topics
from triage_cli.classifiers.embedded.trainer import LocalTrainer as LocalTrainer
from triage_cli.classifiers.embedded.training_set import LABELLED_TEMPERATURE as LABELLED_TEMPERATURE
from triage_cli.classifiers.embedded.training_set import TrainingSet as TrainingSet
from triage_cli.classifiers.embedded.training_set import labelled_texts_of as labelled_texts_of
from triage_cli.classifiers.embedded.word_table import showable_word as showable_word
from triage_cli.classifiers.embedded.word_vectors import VECTORS_FILE as VECTORS_FILE
from triage_cli.classifiers.embedded.word_vectors import Lexicon as Lexicon
from triage_cli.classifiers.embedded.word_vectors import word_parts as word_parts
from triage_cli.classifiers.examples import are_built_in as are_built_in
from triage_cli.classifiers.examples import examples_of as examples_of
from triage_cli.classifiers.wrapped_classifier import Bounded as Bounded
from triage_cli.classifiers.wrapped_classifier import CachedClassifier as CachedClassifier
from triage_cli.classifiers.wrapped_classifier import Calibrated as Calibrated
from triage_cli.classifiers.wrapped_classifier import Curves as Curves
from triage_cli.classifiers.wrapped_classifier import Memory as Memory
from triage_cli.classifiers.wrapped_classifier import Promise as Promise
from triage_cli.classifiers.wrapped_classifier import ToldLanguage as ToldLanguage
from triage_cli.classifiers.wrapped_classifier import WrappedClassifier as WrappedClassifier

embedded_classifier = triage_cli.classifiers.embedded.classifier
embedded_fit = triage_cli.classifiers.embedded.fit
embedded_word_vectors = triage_cli.classifiers.embedded.word_vectors
fit_model = triage_cli.classifiers.embedded.fit.fit
fitted_to_wording = triage_cli.classifiers.embedded.fit.fitted_to_wording
default_word_vectors = triage_cli.classifiers.embedded.word_vectors.word_vectors
