"""The weather of a place, asked of Open-Meteo, which is free and needs no key.

kairos task submit --agent WeatherAgent "weather in Ankara"
"""

import re

from kairos.plugins.base_plugin import BasePlugin, PluginError, PluginTask

SKIES = (
    *((95, "thunderstorm"), (85, "snow showers"), (80, "showers"), (70, "snow"), (60, "rain"), (50, "drizzle")),
    *((45, "fog"), (3, "overcast"), (2, "partly cloudy"), (1, "mainly clear"), (0, "clear")),
)
"""From which WMO code on, and in words (https://open-meteo.com/en/docs)."""


class WeatherPlugin(BasePlugin):
    """Today's weather in the place that the prompt names."""

    config_schema = {
        "type": "object",
        "properties": {
            # The operator's: a project that chose them would choose whom this machine calls.
            "geocoding_url": {"type": "string", "default": "https://geocoding-api.open-meteo.com/v1/search"},
            "forecast_url": {"type": "string", "default": "https://api.open-meteo.com/v1/forecast"},
            "units": {"enum": ["celsius", "fahrenheit"], "default": "celsius", "x-kairos-scope": "project"},
        },
        "additionalProperties": False,
    }

    def get_name(self):
        return "WeatherAgent"

    def get_capabilities(self):
        return ["weather"]

    async def execute(self, task: PluginTask):
        config, http = task.context.config, task.context.http
        wanted = place_in(task.prompt)
        found = await http.get_json(config["geocoding_url"], params={"name": wanted, "count": 1})
        if not found.get("results"):
            raise PluginError(f"no place is named {wanted!r}. Ask for a town, such as: weather in Ankara")
        place = found["results"][0]
        weather = await http.get_json(
            config["forecast_url"],
            params={
                "latitude": place["latitude"],
                "longitude": place["longitude"],
                "current": "temperature_2m,weather_code,wind_speed_10m",
                "daily": "temperature_2m_min,temperature_2m_max",
                "temperature_unit": config["units"],
                "timezone": "auto",
                "forecast_days": 1,
            },
        )
        return in_words(place, weather)


def place_in(prompt: str) -> str:
    """What stands behind the last "in", "for" or "of"; else the whole prompt."""
    named = re.split(r"\b(?:in|for|of)\b", prompt, flags=re.IGNORECASE)[-1]
    return named.strip(" ?!.,\n") or prompt.strip()


def in_words(place: dict, weather: dict) -> str:
    now, today = weather["current"], weather["daily"]
    unit, speed = weather["current_units"]["temperature_2m"], weather["current_units"]["wind_speed_10m"]
    sky = next(words for least, words in SKIES if now["weather_code"] >= least)
    return (
        f"{place['name']}, {place.get('country', 'no country')}: {sky}, {now['temperature_2m']} {unit}, "
        f"wind {now['wind_speed_10m']} {speed}. "
        f"Today {today['temperature_2m_min'][0]} to {today['temperature_2m_max'][0]} {unit}."
    )
