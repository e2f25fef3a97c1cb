import type { Translation } from "../../i18n/types";
import type { entry as english } from "../en/entry";

export const entry: Translation<typeof english> = {
  "entry.sign_in": "Oturum aç",
  "entry.email": "E-posta",
  "entry.password": "Parola",
  "entry.new_password": "Yeni parola",
  "entry.password_hint": "En az 10 karakter, tahmin edilmesi zor.",
  "entry.password_short": "En az 10 karakter kullanın.",
  "entry.forgotten": "Parolanızı mı unuttunuz? Sistem yöneticisinden sıfırlama bağlantısı isteyin. Sunucuda: kairos user reset-password E-POSTA",
  "entry.setup": "Kairos kurulumu",
  "entry.setup_detail": "İlk sistem yöneticisinin parolasını belirleyin. Bağlantı bir kez kullanılabilir.",
  "entry.set_password": "Parolayı belirle",
  "entry.reset": "Yeni parola belirleyin",
  "entry.reset_detail": "Bu hesabın diğer tüm oturumları kapanır. Bağlantı bir kez kullanılabilir.",
  "entry.no_token": "Bu bağlantı eksik",
  "entry.no_token_detail": "# işaretinden sonraki bölüm eksik. Bağlantının tamamını açın.",
  "entry.join": "{project} projesine katıl",
  "entry.join_detail": "{by} sizi {role} olarak davet etti.",
  "entry.join_expires": "Davetin son geçerlilik tarihi: {when}.",
  "entry.join_as": "{email} olarak oturum açtınız.",
  "entry.accept": "Projeye katıl",
  "entry.register": "Hesap oluştur ve katıl",
  "entry.have_account": "Zaten hesabım var",
  "entry.your_name": "Adınız",
};
