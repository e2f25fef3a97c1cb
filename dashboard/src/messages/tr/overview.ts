import type { Translation } from "../../i18n/types";
import type { overview as english } from "../en/overview";

export const overview: Translation<typeof english> = {
  "overview.title": "Genel bakış",
  "overview.today": "Bugünün görevleri",
  "overview.today_detail": "Bulundukları duruma göre; gün UTC gece yarısında başlar.",
  "overview.empty": "Bu projede henüz bir şey olmadı",
  "overview.empty_detail": "Bir görev gönderin: bir ajan onu alır, yönlendirici modeli seçer, denetçi yanıtı denetler ve buradaki sayılar değişmeye başlar.",
  "overview.approved": "Denetçinin onayladığı",
  "overview.approved_detail": { one: "Son {count} günde karar verdiği yanıtlardan", other: "Son {count} günde karar verdiği yanıtlardan" },
  "overview.approved_trend": { one: "Onaylanan pay, son {count} gün", other: "Gün gün onaylanan pay, son {count} gün" },
  "overview.spend": "Bugünkü harcama",
  "overview.spend_detail": "Fiyatı bilinen çağrılar.",
  "overview.cache": { one: "{count} yanıt önbellekten", other: "{count} yanıt önbellekten" },
  "overview.cache_away": "Önbelleğe ulaşılamıyor: ne kazandırdığı bilinmiyor",
  "overview.saved": "{sum} tasarruf",
  "overview.local": "Çağrıların {share} kadarı yerel modellerde kaldı",
  "overview.no_calls": "Bugün hiçbir model çağrılmadı",
  "overview.waiting": "Bir insanı bekleyenler",
  "overview.corrections": { one: "{count} satır düzeltilmeyi bekliyor", other: "{count} satır düzeltilmeyi bekliyor" },
  "overview.rejected": { one: "{count} reddedilen görev incelenecek", other: "{count} reddedilen görev incelenecek" },
  "overview.adapters": { one: "{count} adaptör onay bekliyor", other: "{count} adaptör onay bekliyor" },
  "overview.nothing_waits": "Bekleyen yok: her şeye bakıldı.",
  "overview.health_ok": "Bütün parçalar çalışıyor",
  "overview.health_degraded": "Kairos çalışıyor, ama bir şey eksik",
  "overview.health_down": "Gerekli bir parçaya ulaşılamıyor",
};
