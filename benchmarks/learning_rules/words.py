"""Everyday words, since a model of 135 million parameters misspells rare ones regardless of its training."""

from __future__ import annotations

NAMES = (
    "Anna",
    "Tom",
    "Maria",
    "Peter",
    "Lucy",
    "David",
    "Sarah",
    "Paul",
    "Emma",
    "James",
    "Laura",
    "Mark",
    "Julia",
    "Simon",
    "Helen",
    "Daniel",
)
CITIES = (
    "London",
    "Paris",
    "Rome",
    "Berlin",
    "Madrid",
    "Oslo",
    "Vienna",
    "Dublin",
    "Boston",
    "Chicago",
    "Tokyo",
    "Moscow",
    "Cairo",
    "Sydney",
    "Toronto",
    "Athens",
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
"""The words for 2 to 12."""
HOURS = tuple(str(hour) for hour in range(1, 13))
COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown", "grey")
PLACES = ("office", "kitchen", "garage", "library", "garden", "workshop", "hall", "museum")
OBJECTS = (
    "table",
    "window",
    "door",
    "chair",
    "lamp",
    "clock",
    "kettle",
    "mirror",
    "carpet",
    "bicycle",
    "piano",
    "cupboard",
)
DEVICES = ("lamp", "kettle", "clock", "printer", "phone", "camera", "heater", "radio", "oven", "fan")
